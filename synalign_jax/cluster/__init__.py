"""The work that parts by texts, on the machines of a Ray cluster: Ray Data hands blocks to functions of the
other rooms. Needs the extra `ray`."""

from .ask import ask as ask
from .connect import ClusterError as ClusterError
from .connect import explained as explained
from .embed import embed as embed
from .embed import embed_file as embed_file
from .read import read as read
from .repeats import find_repeats as find_repeats
from .score import score as score
