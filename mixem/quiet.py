"""Silence about what compiling says and nobody can act on; what concerns the user is a line of ours."""

import logging
import re
import warnings

NO_NEWS_WARNINGS = (
    r"\s*Online softmax is disabled on the fly",
    r"TensorFloat32 tensor cores for float32 matrix multiplication available but not enabled",
    r"Please use the new API settings to control TF32 behavior",
)
"""How warnings begin that tell the user nothing: how inductor reduces, and TF32, which we leave off on purpose."""

NO_NEWS_LOGS = {
    "torch._inductor.utils": r"Not enough SMs to use max_autotune_gemm mode",
    "torch._inductor.cudagraph_utils.__cudagraphs": r"skipping cudagraph",
    "torch.utils.cpp_extension": r"No CUDA runtime is found",
}
"""Lines of torch's log that tell the user nothing, by their logger."""

READ_ANEW = "compiled code in torch's cache cannot be read; compiling it anew"
NEXT_UNCOMPILED = "more kinds of steps than torch.compile takes in one process: the next ones run uncompiled"
OURS = {
    "torch._inductor.codecache": (r".*unable to load compiled graph", READ_ANEW),
    "torch._functorch._aot_autograd.autograd_cache": (r".*unable to (load|deserialize)", READ_ANEW),
    "torch.compiler._cache": (r"Failed to un-pickle cache artifacts", ""),
    "torch._dynamo.convert_frame": (
        r"torch\._dynamo hit config\.\w*recompile_limit",
        NEXT_UNCOMPILED,
    ),
}
"""Lines of torch's log, by their logger, and what we say in their place; nothing where it is said elsewhere."""

logger = logging.getLogger(__name__)


class _Replaced(logging.Filter):
    """Lets pass what does not begin as `pattern`; says `line` in place of what does, if there is one."""

    def __init__(self, pattern: str, line: str = "") -> None:
        super().__init__()
        self.pattern, self.line = re.compile(pattern), line

    def filter(self, record: logging.LogRecord) -> bool:
        if not self.pattern.match(record.getMessage()):
            return True
        if self.line:
            logger.warning(self.line)
        return False


_FILTERS = {name: _Replaced(pattern) for name, pattern in NO_NEWS_LOGS.items()} | {
    name: _Replaced(*replacement) for name, replacement in OURS.items()
}


def quiet() -> None:
    """Silence this process; to do it again changes nothing."""
    for beginning in NO_NEWS_WARNINGS:
        warnings.filterwarnings("ignore", message=beginning, category=UserWarning)
    for name, replaced in _FILTERS.items():
        logging.getLogger(name).addFilter(replaced)
