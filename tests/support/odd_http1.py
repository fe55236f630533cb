"""Pieces of requests that other parsers have read in two ways, or that break one rule each."""

ODD_METHODS = [
    *(b"get", b"CONNECT", b"TRACE", b"M-SEARCH", b"", b"GET\t", b"G\0T", b"(GET)", b"A" * 32, b"A" * 33, b" GET"),
]
ODD_TARGETS = [
    *(b"*", b"", b"a", b"a:80", b"//other/x", b"/a b", b"/a\tb", b"/#f", b"/a?b#c", b"/\xc3\xa4", b"/\x7f"),
    *(b"http://other/b", b"HTTP://other:81/b", b"https://other", b"http://other?q", b"http://", b"http:///x"),
    *(b"http://user@other/", b"http://other:0/", b"http://other:99999/", b"http://[::1]:80/", b"http://a\\@other/"),
    *(b"/a\\..\\b", b"ftp://other/"),
]
ODD_VERSIONS = [
    *(b"HTTP/1.0", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"HTTP/1.1 ", b"HTTP/1.10"),
    *(b"HTTP/01.1", b"", b"HTTP/1,1", b"HTTP/1.\xb9", b"HTTP/1.1\x0b", b"XHTTP/1.1"),
]
ODD_ENDS = [
    *(b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n ", b"\r\n\t", b"\r\n\r\n", b"\x0b\r\n", b"\x85\r\n", b"\0\r\n"),
    *(b" \r\n", b"\r \n"),
]
ODD_LENGTHS = [
    *(b"0", b"5", b"6", b"+5", b"-5", b"1_0", b"0x5", b"5 ", b"5,5", b"5, 5", b"05", b"5.0", b"5e0", b"", b"\xb2"),
    *(b"\xd9\xa5", b"5\x0b", b"9" * 18, b"9" * 19, b"9" * 400, b"5\r\n 6", b"5\r\n", b"5;", b"five"),
]
ODD_CODINGS = [
    *(b"chunked", b"Chunked", b" chunked\t", b"xchunked", b"chunked\x0b", b"\x0bchunked", b"chunked\x00", b"identity"),
    *(b"chunked, chunked", b"gzip, chunked", b"chunked, gzip", b"identity, chunked", b"chunked;q=1", b'"chunked"', b""),
    *(b"chunked,", b",chunked", b"chun\r\n ked", b"chunked\xa0", b"chunked identity", b"cow", b"\r\n chunked"),
]
ODD_OPTIONS = [
    *(b"close", b"keep-alive", b"Close, TE", b"Txn-Token", b"x-forwarded-client-cert", b"Host", b"authorization"),
    *(b"Content-Length", b"content-type", b"transfer-encoding", b"X-A", b"x-a, close", b"X-Late", b"upgrade"),
    *(b"close\x0b", b"a b", b"", b",,", b"cookie"),
]
ODD_HOSTS = [
    *(b"victim", b"other", b"", b"a b", b"a,b", b"a@b", b"a:0", b"a:80:81", b"[::1]", b"a/b", b"a\xff", b"a#b"),
]
ODD_FIELDS = [
    *(b"Content-Length: " + value for value in ODD_LENGTHS),
    *(b"Transfer-Encoding: " + value for value in ODD_CODINGS),
    *(b"Connection: " + value for value in ODD_OPTIONS),
    *(b"Host: " + value for value in ODD_HOSTS),
    *(b"transfer-encoding: chunked", b"Transfer_Encoding: chunked", b"Transfer-Encoding : chunked"),
    *(b" Transfer-Encoding: chunked", b"Transfer-Encoding\t: chunked", b"Transfer.Encoding: chunked"),
    *(b"X\nTransfer-Encoding: chunked", b"X\rTransfer-Encoding: chunked", b"X: a\rb\nTransfer-Encoding: chunked"),
    *(b"\0Transfer-Encoding: chunked", b"X-Transfer-Encoding: chunked", b"Transfer-Encoding:\nchunked"),
    *(b"content-length: 5", b"Content_Length: 5", b"Content-Length : 5", b"Content Length: 5"),
    *(b"X: a\r\rb\n\nContent-Length: 5", b"X-A: a\rb\nTxn-Token: evil", b"X-A: a\rb\nX-C: d\re\nX-F: g"),
    *(b"Txn-Token: evil", b"txn-token: evil", b"Txn_Token: evil", b"Txn.Token: evil", b"TXN-TOKEN : evil"),
    *(b"Txn-Token\x00: evil", b"X-Forwarded-Client-Cert: By=evil", b"X_Forwarded_Client_Cert: evil"),
    *(b"X-Forwarded_Client-Cert: evil", b"Client-Cert: :evil:", b"Client_Cert_Chain: :evil:"),
    *(b"X-A: b", b"X-A: c", b"X-A:", b"X-A", b": x", b"X-A: \xff\xfe", b"X-A: a\tb", b"X-A: a\0b", b"X-A: a\rb"),
    *(b"X-A: a\nb", b"X-A: a\x7fb", b"X A: b", b"X(A): b", b"X\x80: b", b" folded", b"\tfolded", b"X-A : b"),
    *(b"X-A\r\n: b", b"X:Y: z", b"Authorization: a", b"Authorization: b", b"Content-Type: a", b"content-type: b"),
    *(b"Cookie: a=b", b"TE: trailers", b"Trailer: X-Late", b"Expect: 100-continue", b"Expect: 100-Continue"),
    *(b"Expect: x", b"Upgrade: websocket", b"Upgrade: h2c", b"HTTP2-Settings: AAA", b"Via: 1.1 x"),
    *(b"Max-Forwards: 0", b"Keep-Alive: 5", b"Proxy-Connection: close", b"traceparent: x", b"Forwarded: for=x"),
]
ODD_CHUNKS = [
    *(b"5\r\nhello\r\n", b"05\r\nhello\r\n", b"0" * 14 + b"5\r\nhello\r\n", b"0" * 15 + b"5\r\nhello\r\n"),
    *(b"A\r\n0123456789\r\n", b"5;x\r\nhello\r\n", b"5;x=y;z\r\nhello\r\n", b'5;x="a;b\\""\r\nhello\r\n'),
    *(b"5 ;x\r\nhello\r\n", b"5; x = y\r\nhello\r\n", b"5;\r\nhello\r\n", b'5;x="\r\nhello\r\n', b"5;x\nhello\r\n"),
    *(b"5;x\rhello\r\n", b"5;x\r\r\nhello\r\n", b"5;\x00\r\nhello\r\n", b"5;\nhello\r\n0\r\n\r\n", b"5;x\r\nhello\r\n"),
    *(b"5;" + b"x" * 254 + b"\r\nhello\r\n", b"5;" + b"x" * 255 + b"\r\nhello\r\n", b"\r\n", b"5\r\nhello"),
    *(b"+5\r\nhello\r\n", b"-5\r\nhello\r\n", b"0x5\r\nhello\r\n", b"5_\r\nhello\r\n", b" 5\r\nhello\r\n"),
    *(b"5 \r\nhello\r\n", b"5\t\r\nhello\r\n", b"5\r\nhello\n", b"5\r\nhello\r", b"5\r\nhelloX\r\n", b"5\nhello\r\n"),
    *(
        b"5\rhello\r\n",
        b"g\r\n",
        b"5,5\r\nhello\r\n",
        b"f" * 15 + b"\r\nx",
        b"f" * 16 + b"\r\nx",
        b"f" * 100 + b"\r\nx",
    ),
    *(b"5\x0b\r\nhello\r\n", b"\xb2\r\nhi\r\n", b"0\r\n\r\n", b"1_0\r\nhello\r\n"),
]
ODD_TRAILERS = [
    *(b"", b"X-Late: 1\r\n", b"Txn-Token: evil\r\n", b"Txn_Token: evil\r\n", b"Content-Length: 5\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Host: other\r\n", b"Authorization: x\r\n", b" folded\r\n", b"X\r\n"),
    *(b"X-Late: a\nTxn-Token: evil\r\n", b"X-Late: a\rb\nX: c\r\n", b"X-Late: \0\r\n", b"\n", b"X-Late : 1\r\n"),
    *(b"X-Forwarded-Client-Cert: evil\r\n", b"grpc-status: 0\r\ngrpc-message: ok\r\n"),
]
