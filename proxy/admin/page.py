"""The status page: what a person wants to see first, in one small document without scripts."""

from collections.abc import Iterable, Mapping

from proxy.admin.health import Finding, Gate

Rows = Iterable[tuple[str, str]]

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;max-width:60rem}"
    "h1{font-size:1.4rem}h2{font-size:1.05rem;margin-top:1.5rem}"
    "td{padding:.1rem 1.5rem .1rem 0;vertical-align:top}td:first-child{color:#666}"
    ".ok{color:#080}.no{color:#b00;font-weight:bold}"
)

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})


def status_page(service: str, findings: Mapping[Gate, Finding], sections: Mapping[str, Rows], paths: Rows) -> str:
    """Write the page. Every value is escaped: names come from the configuration, but nobody has to trust that."""
    ready = all(finding.ok for finding in findings.values())
    verdict = '<span class="ok">ready</span>' if ready else '<span class="no">not ready</span>'
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>svidecar: {escape(service)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(service)}: {verdict}</h1>",
        "<h2>Gates</h2><table>",
        *(_gate(gate, finding) for gate, finding in findings.items()),
        "</table>",
        *(_section(title, rows) for title, rows in sections.items()),
        _section("Paths", paths),
        "</body></html>\n",
    ]
    return "".join(parts)


def _gate(gate: Gate, finding: Finding) -> str:
    mark = '<span class="ok">open</span>' if finding.ok else '<span class="no">closed</span>'
    return f"<tr><td>{escape(gate)}</td><td>{mark}</td><td>{escape(finding.detail)}</td></tr>"


def escape(text: str) -> str:
    """As ``html.escape``, whose module brings 0.4 MB of names for characters with it."""
    return text.translate(_ENTITIES)


def _section(title: str, rows: Rows) -> str:
    body = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<h2>{escape(title)}</h2><table>{body}</table>"
