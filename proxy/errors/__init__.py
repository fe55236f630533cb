"""Why something was refused: one class per reason, a module for each family; all are imported from here.

``TokenExpired`` is ``token_expired`` as metric label, audit word, and ``reason`` of the answer (``flow/rescue.py``).
Names are stable: dashboards hold them. A detail is for people: it names rule and limit, never a value from outside.
"""
# ruff: noqa: F403, I001 - a new class need not be named again; the order is the one in which a request can meet them

from proxy.errors.reason import *
from proxy.errors.connection import *
from proxy.errors.unavailable import *
from proxy.errors.message import *
from proxy.errors.token import *
from proxy.errors.denial import *
from proxy.errors.tunnel import *
from proxy.errors.upstream import *
from proxy.errors.unusable import *
