"""Run a spec (a JSON file) on an engine, as the command line does but without a preflight."""

import json
import signal
import sys

from prunery.lab.engines.engine import engine_named
from prunery.lab.plan import plan
from prunery.lab.spec import from_plain
from prunery.lab.store import Store


def main():
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background jobs are told to ignore it
    spec, store, workers, work, engine = sys.argv[1:]
    with open(spec) as file:
        planned = plan(from_plain(json.load(file)))
    run = engine_named(engine, work=work)
    outcome = run(planned, Store(store), workers=int(workers), progress=None)
    print(
        json.dumps({"done": len(outcome.done), "complete": outcome.complete, "stopped": outcome.interrupted})
    )


if __name__ == "__main__":
    main()
