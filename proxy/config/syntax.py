"""What the YAML parser says, in the words of the person who made the mistake."""

import yaml
from yaml.reader import ReaderError

from proxy.config.problem import Problem

_MISFIT = (
    "this ':' does not fit here: look at this line and the one above for a wrong indentation, "
    "a missing space after ':', or a value with ': ' in it that needs quotes"
)

_SAYINGS = (
    ("mapping values are not allowed", _MISFIT),
    ("expected <block end>", "the indentation does not match {context}: keys of one mapping start in one column"),
    ("could not find expected ':'", "the key on {context} has no ':' after it, or is a value that needs quotes"),
    ("unexpected end of stream", "a quote opened on {context} is never closed"),
    ("expected ',' or", "the '[' or '{{' opened on {context} is not closed before here"),
    ("found character '\\t'", "a tab is here: YAML allows spaces only"),
    ("expected the node content", 'a value is missing here; an IPv6 address needs quotes: "[::1]:15006"'),
    ("that cannot start any token", "a value that starts with this character needs quotes"),
    ("unknown escape character", "this escape is not YAML: use single quotes, in which a backslash is itself"),
)
"""What the parser says -> what to do. ``{context}`` is the line on which the unfinished thing began."""


def explain(error: Exception, text: str) -> Problem:
    """The problem, without a piece of the text: it may be anything."""
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return Problem(path="", line=line, message="a control character is in the file: it is not a text file")
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Problem(path="", line=None, message="the file is not YAML: it has an escape or a directive that is none")
    line = error.problem_mark.line + 1
    said = error.problem or ""
    began = f"line {error.context_mark.line + 1}" if error.context_mark else "the lines above"
    for part, meaning in _SAYINGS:
        if part in said:
            return Problem(path="", line=line, message=meaning.format(context=began))
    return Problem(path="", line=line, message=f"the file is not YAML from here on ({error.context or 'syntax error'})")
