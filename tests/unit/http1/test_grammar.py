"""Characters, numbers and names: exactly the sets of the RFCs, whatever Python's own functions would take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadRequest, OwnedField
from proxy.http1 import grammar
from proxy.http1.grammar import (
    HELD,
    HOP_BY_HOP,
    LINES,
    NAMES,
    ORDINARY,
    OWNED,
    SINGLE,
    TARGET,
    TOKEN,
    TOKENS,
    VISIBLE,
    chunk_size,
    decimal,
    hexadecimal,
    is_authority,
    judge_line,
    judge_name,
    only,
    only_crlf,
)

CONTROLS = [octet for octet in [*range(0x20), 0x7F] if octet != 0x09]


@pytest.mark.parametrize("raw", [b"0", b"5", b"007", b"123456789012345678", b"0" * 18])
def test_a_decimal_is_digits(raw: bytes) -> None:
    """1*DIGIT, leading zeros included, is the number that it says in base ten."""
    assert decimal(raw) == int(raw.decode("ascii"))


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"+1", b"-1", b"1_0", b" 1", b"1 ", b"1\n", b"\t1", b"0x1", b"1.0", b"1e3", b"1,1", b"a", b"1\x00"),
        *("\u0665".encode(), "\u00b2".encode(), b"\xb2", "\uff11".encode(), b"1" * 19, b"9" * 4301),
    ],
)
def test_what_int_would_take_is_no_decimal(raw: bytes) -> None:
    """Signs, underscores, blanks, other digits, and more than 18 digits are refused."""
    assert decimal(raw) is None


@pytest.mark.parametrize(("raw", "size"), [(b"0", 0), (b"a", 10), (b"FF", 255), (b"000", 0), (b"f" * 15, 16**15 - 1)])
def test_a_hexadecimal_is_hex_digits(raw: bytes, size: int) -> None:
    """1*HEXDIG in both cases."""
    assert hexadecimal(raw) == size


@pytest.mark.parametrize(
    "raw", [b"", b"0x1", b"1_0", b"+1", b"-1", b" 1", b"1 ", b"1\n", b"g", b"\xb2", b"1" * 16, b"0" * 16, b"1;"]
)
def test_what_int_in_base_16_would_take_is_no_hexadecimal(raw: bytes) -> None:
    """Prefixes, underscores, signs, blanks, and more than 15 digits are refused."""
    assert hexadecimal(raw) is None


@given(st.binary(max_size=6))
def test_numbers_are_what_their_grammar_says(raw: bytes) -> None:
    """No other bytes are a number."""
    assert (decimal(raw) is not None) is (bool(raw) and all(octet in b"0123456789" for octet in raw))
    assert (hexadecimal(raw) is not None) is (bool(raw) and all(octet in b"0123456789abcdefABCDEF" for octet in raw))


@pytest.mark.parametrize(
    "line",
    [
        *(b"5", b"5;a", b"5;a=b", b"5;a=b;c", b'5;a="b"', b'5;a="b;c=\\"d\\""', b'5;a=""', b"5; a = b ; c", b"5;a;a;a"),
        *(b'5;a="\xff"', b'5;a="\t"', b"5;!#$%&'*+-.^_`|~=1"),
    ],
)
def test_an_extension_that_is_well_formed_is_ignored(line: bytes) -> None:
    """The size is what counts (RFC 9112 section 7.1.1)."""
    assert chunk_size(line) == 5


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b";a", b"5;", b"5;;a", b"5;a;", b"5;a=", b"5;=b", b'5;a="', b'5;a="b', b'5;a=b"', b'5;a="b"c', b"5 ;a"),
        *(
            b"5;a b",
            b"5;a=b c",
            b"5;a\n",
            b"5;a\r",
            b"5;a=b\x00",
            b'5;a="\n"',
            b'5;a="\\\n"',
            b"5 a",
            b"5,5",
            b"5;a\x7f",
        ),
        b"5;a ",
    ],
)
def test_an_extension_that_is_malformed_refuses_the_line(line: bytes) -> None:
    """Two parsers may see the end of such a line in two places."""
    assert chunk_size(line) is None


@pytest.mark.parametrize(
    "raw",
    [
        *(
            b"a",
            b"ledger.default.svc",
            b"a:1",
            b"a:65535",
            b"10.0.0.1:80",
            b"[::1]",
            b"[::1]:8080",
            b"a_b",
            b"A-B.",
            b"a:080",
        ),
        b"a" * 255,
    ],
)
def test_an_authority_is_a_host_with_an_optional_port(raw: bytes) -> None:
    """Names, addresses, and ports from 1 to 65535."""
    assert is_authority(raw)


@pytest.mark.parametrize(
    "raw",
    [
        *(
            b"",
            b":80",
            b"a:",
            b"a:0",
            b"a:65536",
            b"a:99999",
            b"a:000080",
            b"a:+1",
            b"a:1_0",
            b"a:80:80",
            b"a b",
            b" a",
        ),
        *(
            b"user@a",
            b"user:pw@a",
            b"a/b",
            b"a?b",
            b"a#b",
            b"a\\b",
            b"a,b",
            b"a%20b",
            b"a\xff",
            b"a\n",
            b"a\r",
            b"a\x00",
        ),
        *(
            b"[",
            b"[]",
            b"[:",
            b"[a.b]x",
            b"[::1",
            b"::1",
            b"[::1]]",
            b"[v1.x]",
            b"[fe80::1%25eth0]",
            b"a" * 256,
            b"(a)",
        ),
    ],
)
def test_what_is_no_authority_is_refused(raw: bytes) -> None:
    """No userinfo, no empty host or port, no character that a URL parser might read as an end."""
    assert not is_authority(raw)


def test_only_crlf_wants_each_cr_before_its_lf() -> None:
    """CR and LF in the right number and order are not enough: they must touch; once this passed."""
    assert only_crlf(b"a\r\nb\r\n\r\n", 3)
    assert not only_crlf(b"a\rb\nc\r\n", 1)
    assert not only_crlf(b"a\r\nb\r\n", 1)


@pytest.mark.parametrize("octet", CONTROLS)
def test_every_control_character_is_refused_in_a_line_and_in_a_target(octet: int) -> None:
    """All but HTAB in a value; HTAB too in a target."""
    with pytest.raises(BadRequest):
        judge_line(b"X-A: a" + bytes([octet]) + b"b")
    assert octet not in VISIBLE
    assert octet not in TARGET


def test_the_sets_of_characters_are_those_of_the_rfcs() -> None:
    """Every octet is in the sets in which RFC 9110 section 5 and RFC 9112 section 3.2 have it."""
    assert set(VISIBLE) == {0x09, 0x20, *range(0x21, 0x7F), *range(0x80, 0x100)}
    assert set(TARGET) == set(range(0x21, 0x7F)) - {ord("#")}
    tchar = set(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert {octet for octet in range(256) if TOKEN.fullmatch(bytes([octet]))} == tchar


@pytest.mark.parametrize("name", sorted(HELD | SINGLE))
def test_a_name_on_which_we_decide_is_known_in_any_case(name: bytes) -> None:
    """Names are compared without regard to case (RFC 9110 section 5.1)."""
    for sent in (name, name.upper(), name.title(), name.swapcase()):
        assert judge_name(sent) == name
        assert NAMES[sent] == name


@pytest.mark.parametrize("name", [b"X-A", b"Accept", b"x_request_id", b"X.Y", b"Txn-Tokens", b"X-Txn-Token", b"Hosts"])
def test_any_other_name_is_ordinary(name: bytes) -> None:
    """It is forwarded as it came."""
    assert judge_name(name) == ORDINARY


@pytest.mark.parametrize(
    "name",
    [
        *(
            b"Txn_Token",
            b"txn_token",
            b"TXN_TOKEN",
            b"Txn.Token",
            b"Txn~Token",
            b"txn*token",
            b"x_forwarded_client_cert",
        ),
        *(b"X-Forwarded_Client-Cert", b"Client_Cert", b"client_cert_chain", b"Content_Length", b"Transfer_Encoding"),
        *(b"transfer.encoding", b"Transfer^Encoding"),
    ],
)
def test_a_name_that_a_gateway_would_turn_into_one_of_ours_is_refused(name: bytes) -> None:
    """CGI, WSGI and their kin turn ``-`` into ``_``, and some turn every other mark into it as well."""
    with pytest.raises(OwnedField):
        judge_name(name)
    assert name not in NAMES


@pytest.mark.parametrize(
    "name", [b"", b" X", b"X ", b"X\t", b"\tX", b"X Y", b"X:", b"X\xff", b"X\x00", b"(X)", b"X/Y", b'"X"']
)
def test_a_name_that_is_no_token_is_refused(name: bytes) -> None:
    """So folded lines and blanks before the colon are refused as well (specs 6.1)."""
    with pytest.raises(BadRequest):
        judge_name(name)
    assert name not in NAMES


def test_what_is_remembered_of_names_is_bounded() -> None:
    """Ever new names push out what was known; a long one is judged each time."""
    for number in range(2 * grammar._MAX_NAMES + 5):
        judge_name(b"x-%d" % number)
        assert len(NAMES) <= grammar._MAX_NAMES
    long = b"x" * (grammar._MAX_NAME_BYTES + 1)
    judge_name(long)
    judge_name(long[:-1])
    assert long not in NAMES
    assert long[:-1] in NAMES


def test_what_is_remembered_of_lines_is_bounded_and_holds_no_secret() -> None:
    """Only fields that repeat are remembered, and not when they are long: never a token, a cookie or a key."""
    for number in range(2 * grammar._MAX_LINES + 5):
        judge_line(b"User-Agent: %d" % number)
        assert len(LINES) <= grammar._MAX_LINES
    LINES.clear()
    limit = grammar._MAX_LINE_BYTES
    for size, kept in ((limit, True), (limit + 1, False)):
        row = b"Accept: ".ljust(size, b"x")
        judge_line(row)
        assert (row in LINES) is kept
    for name in (b"Txn-Token", b"Authorization", b"Cookie", b"Set-Cookie", b"X-Api-Key", b"X-Forwarded-Client-Cert"):
        judge_line(name + b": secret")
    assert not any(b"secret" in row for row in LINES)


@given(st.sampled_from([b"Accept", b"X-A", b"Host", b"Connection", b"Content-Type"]), st.binary(max_size=12))
def test_a_line_is_judged_the_same_again(name: bytes, value: bytes) -> None:
    """What is remembered is what was judged."""
    row = name + b":" + value
    verdicts = []
    for _ in range(2):
        try:
            verdicts.append(LINES.get(row) or judge_line(row))
        except BadRequest:
            verdicts.append((b"", b"refused"))
    assert verdicts[0] == verdicts[1]
    if not value.translate(None, VISIBLE):
        text = value.strip(b" \t")
        assert verdicts[0] == ((b"", name + b": " + text) if judge_name(name) == ORDINARY else (name.lower(), text))


def test_what_ends_with_this_hop_and_what_is_ours_never_passes_by_itself() -> None:
    """Every such field is held, so that forwarding it takes a decision."""
    assert OWNED <= HELD
    assert HOP_BY_HOP <= HELD
    assert not HELD & SINGLE


@pytest.mark.parametrize("octets", [VISIBLE, TARGET, b"a"])
def test_only_these_octets(octets: bytes) -> None:
    """Every octet that is not among them changes, NUL as well; none that is does."""
    table = only(octets)
    for octet in range(0x100):
        raw = b"aa" + bytes([octet])
        assert (raw.translate(table) == raw) is (octet in octets)


def test_token_lines_are_remembered_within_bounds() -> None:
    """The characters of a token were judged; there are at most so many, none too long, and none with a control."""
    TOKENS.clear()
    for number in range(2 * grammar._MAX_TOKENS + 5):
        row = b"Txn-Token: %d" % number
        assert judge_line(row) == judge_line(row) == (b"txn-token", b"%d" % number)
        assert len(TOKENS) <= grammar._MAX_TOKENS
    head = b"txn-token:"
    for size, kept in ((grammar._MAX_TOKEN_BYTES, True), (grammar._MAX_TOKEN_BYTES + 1, False)):
        row = head + b"x" * (size - len(head))
        judge_line(row)
        assert (row in TOKENS) is kept
    for bad in (b"Txn-Token: a\0", b"Txn-Token: a\rb", b"Txn-Token: \x7f"):
        for _ in range(2):
            with pytest.raises(BadRequest):
                judge_line(bad)
    TOKENS.clear()
