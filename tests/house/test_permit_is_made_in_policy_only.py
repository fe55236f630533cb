"""Law 1: nothing is forwarded without a Permit, and only proxy/policy makes one."""

import ast
from pathlib import Path

PROXY = Path(__file__).resolve().parents[2] / "proxy"


def _breaches(source: str) -> list[int]:
    """Return the lines that call Permit, subclass it, or reach for the seal."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id="Permit") | ast.Attribute(attr="Permit")):
                lines.append(node.lineno)
            case ast.ClassDef(bases=bases) if any(ast.unparse(base).split(".")[-1] == "Permit" for base in bases):
                lines.append(node.lineno)
            case ast.ImportFrom(names=names) if any(alias.name == "SEAL" for alias in names):
                lines.append(node.lineno)
            case ast.ImportFrom(names=names) if any(alias.name == "Permit" and alias.asname for alias in names):
                lines.append(node.lineno)
            case ast.Attribute(attr="SEAL") | ast.Name(id="SEAL"):
                lines.append(node.lineno)
            case ast.Call(func=ast.Attribute(attr="__new__"), args=[ast.Name(id="Permit"), *_]):
                lines.append(node.lineno)
            case _:
                pass
    return lines


def test_no_other_room_makes_a_permit() -> None:
    """The syntax tree of every file of every other room."""
    files = [path for path in PROXY.rglob("*.py") if path.relative_to(PROXY).parts[0] != "policy"]
    assert len(files) > 10
    found = {str(path.relative_to(PROXY)): lines for path in files if (lines := _breaches(path.read_text()))}
    assert found == {}


def test_the_law_sees_a_breach() -> None:
    """A law that never finds anything proves nothing: each of these is one."""
    for source in (
        "Permit(seal=x, rule='', route='')",
        "permit.Permit(seal=x, rule='', route='')",
        "from proxy.policy.permit import Permit as P",
        "from proxy.policy.permit import SEAL",
        "permit.SEAL",
        "object.__new__(Permit)",
        "class Mine(Permit): ...",
    ):
        assert _breaches(source), source
    assert _breaches("from proxy.policy.permit import Permit\ndef lend(permit: Permit) -> None: ...") == []


def test_the_policy_makes_them_where_they_are_expected() -> None:
    """When rules and destinations are compiled, and for what audit mode lets pass: nowhere else, not even in the room."""
    makers = {
        path.name
        for path in (PROXY / "policy").rglob("*.py")
        if "Permit(" in path.read_text().replace("class Permit", "")
    }
    assert makers == {"audited.py", "compile.py", "destinations.py"}
