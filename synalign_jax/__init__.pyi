# The public names: what `synalign_jax.NAME` loads when it is first used, and what type checkers see.
from .api.preview import Preview as Preview
from .api.preview import preview as preview
from .api.report import report as report
from .api.result import RunResult as RunResult
from .api.run import run as run
from .api.run import run_async as run_async
from .core.align.align import align as align
from .core.align.alignment import Alignment as Alignment
from .core.checks import InputError as InputError
from .core.explore.coverage import best_cosine as best_cosine
from .core.explore.coverage import hull_coverage as hull_coverage
from .core.explore.exploration import Exploration as Exploration
from .core.explore.explore import explore as explore
from .core.explore.posterior import PosteriorState as PosteriorState
from .core.explore.posterior import posterior_init as posterior_init
from .core.explore.posterior import posterior_update as posterior_update
from .core.mmd.mmd import mmd2 as mmd2
from .core.mmd.two_sample import two_sample_test as two_sample_test
from .core.resample import resample as resample
from .evaluation.evaluate import evaluate as evaluate
from .evaluation.result import Evaluation as Evaluation
from .mixing.mix import mix as mix
from .mixing.mixture import Mixture as Mixture
from .pipeline.config import Config as Config
from .pipeline.config import ConfigError as ConfigError

__version__: str
