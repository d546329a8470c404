"""Students, metrics, figures and the report: what tells a user whether it worked.

A name is loaded when it is first used, as those of the package: a report of a pool needs no students.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
