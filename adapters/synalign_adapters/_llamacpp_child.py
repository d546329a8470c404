"""The process that LlamaCppServer starts: argv is the model, slots, context, threads, GPU layers.

It writes its address (or what went wrong) as one line to standard output and serves until standard input
ends, which the kernel sees to when the parent dies, however it dies.
"""

import fcntl
import os
import signal
import sys


def main() -> None:
    model, slots, context, threads, gpu_layers = sys.argv[1], *map(int, sys.argv[2:])
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the library prints is not the address
    # While a model loads, the library holds Python up, so the end of the parent must kill by signal.
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(0, fcntl.F_GETFL)
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(0, fcntl.F_SETFL, flags | os.O_ASYNC)
    try:
        import xllamacpp
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "xllamacpp":
            said = "xllamacpp is not installed; pip install xllamacpp"
        else:
            said = f"xllamacpp is installed and cannot be loaded here, because {' '.join(str(error).split())}"
        print(said, file=out, flush=True)
        return
    params = xllamacpp.CommonParams()  # pyright: ignore[reportAttributeAccessIssue]
    params.model.path = model
    params.port = 0
    params.n_parallel = slots
    params.n_ctx = slots * context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.n_gpu_layers = gpu_layers
    params.verbosity = -1
    try:
        server = xllamacpp.Server(params)  # pyright: ignore[reportAttributeAccessIssue]
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=out, flush=True)
        return
    fcntl.fcntl(0, fcntl.F_SETFL, flags)
    print(server.listening_address, file=out, flush=True)
    while os.read(0, 1):
        pass
    os._exit(0)  # the library's own end waits for its threads, on a busy machine for ever


if __name__ == "__main__":
    main()
