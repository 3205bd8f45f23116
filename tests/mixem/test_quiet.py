"""What torch says while it compiles, raised by its own code, and what of it reaches the user."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from mixem.quiet import NEXT_UNCOMPILED, READ_ANEW, quiet
from tests.sweeps.launch import start

RAISED = """
import os, sys
import torch
import torch.utils.cpp_extension
from torch._inductor.codecache import FxGraphCache
from torch._inductor.cudagraph_utils import log_cudagraph_skip_and_bump_counter
from torch._inductor.utils import is_big_gpu
from mixem.quiet import quiet

os.environ["CUDA_HOME"] = "/usr/local/cuda"
torch._dynamo.config.recompile_limit = 1
folder = FxGraphCache._get_tmp_dir_for_key("damaged")
os.makedirs(folder)
open(os.path.join(folder, "entry"), "wb").write(b"torn")

def raise_all():
    torch.utils.cpp_extension._find_cuda_home()
    is_big_gpu.__wrapped__(torch.device("cpu"))
    log_cudagraph_skip_and_bump_counter("skipping cudagraphs due to mutated inputs (1 instances)")
    torch.compiler.load_cache_artifacts(b"torn")
    list(FxGraphCache.iterate_over_candidates(True, None, "damaged"))
    torch._dynamo.reset()
    double = torch.compile(lambda values: 2 * values, backend="eager", dynamic=False)
    for size in (2, 3):
        double(torch.ones(size))

raise_all()
print("now quiet", file=sys.stderr)
quiet()
raise_all()
"""
LOUD = (
    "No CUDA runtime is found",
    "Not enough SMs to use max_autotune_gemm mode",
    "skipping cudagraphs due to",
    "Failed to un-pickle cache artifacts",
    "unable to load compiled graph",
    "torch._dynamo hit config.recompile_limit",
)

OF_EARLIER_RELEASES = (
    "\nOnline softmax is disabled on the fly since Inductor decides to\nsplit the reduction. Cut an issue to PyTorch "
    "if this is an\nimportant use case and you want to speed it up with online\nsoftmax.\n",
    "TensorFloat32 tensor cores for float32 matrix multiplication available but not enabled. Consider setting "
    "`torch.set_float32_matmul_precision('high')` for better performance.",
)
"""Warnings of torch 2.11 on a GPU; 2.14 keeps them to itself."""


@pytest.mark.ray
def test_of_what_torch_logs_two_lines_of_ours_are_left(tmp_path: Path) -> None:
    command, env = (sys.executable, "-c", RAISED), {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    with start(*command, env=env, stderr=subprocess.PIPE) as process:
        _, written = process.communicate()
    loud, _, left = written.partition("now quiet\n")
    assert [line for line in LOUD if line not in loud] == []
    assert left.splitlines() == [READ_ANEW, NEXT_UNCOMPILED]


@pytest.mark.parametrize("text", OF_EARLIER_RELEASES, ids=["softmax", "TF32"])
def test_warnings_that_tell_nothing_are_passed_over(text: str) -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        quiet()
        quiet()
        warnings.warn(text, stacklevel=1)
        warnings.warn("another one", stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["another one"]
