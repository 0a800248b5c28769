#!/usr/bin/env python3
"""Side-by-side benchmark of AWS Lambda custom-runtime programs, without AWS.

The harness plays the Lambda Runtime API on a loopback port, starts a target
(`bootstrap`-style binary, or node/python with a runtime interface client) in a
fresh process, feeds it API Gateway events one at a time, and measures

  init        spawn until the first GET .../invocation/next           (cold start, part 1)
  first       the first event sent until its response has arrived     (cold start, part 2)
  cold        init + first; and the CPU time (user+sys) both took
  warm        every later invocation: p50, p99, CPU time per invocation
  RSS         VmHWM after the first invocation, and after the warm ones
  size        bytes of the deployable artifact, and of its deflate-9 zip

Every round runs each target of a scenario once, in a shuffled order, so that
machine noise and what the previous target left in the caches hit all targets
alike and ratios can be paired per round. A sample during which *other*
processes used too much CPU (a compile next door) is thrown away and retaken.

  lambda_bench.py targets.toml                       everything that is built
  lambda_bench.py targets.toml --scenario get --targets hello,ours
  lambda_bench.py --help

Python 3.11+, Linux, standard library only. See README.md beside this file for the target file.
"""

import argparse
import contextlib
import json
import math
import os
import pathlib
import random
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
import zlib

now = time.perf_counter_ns
VERSION = "/2018-06-01/runtime"
NEXT = VERSION + "/invocation/next"


class TargetFailed(Exception):
    pass


# --------------------------------------------------------------------------
# The Runtime API: a blocking epoll HTTP/1.1 server. It serves one target at a
# time, so there is no concurrency to manage and no event loop to pay for.


class Conn:
    def __init__(self, sock):
        self.sock = sock
        self.buf = bytearray()
        self.continued = False

    def parse(self):
        """One complete request as (method, path, headers, body), else None."""
        buf = self.buf
        end = buf.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(buf[:end]).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {}
        for line in head[1:]:
            key, _, value = line.partition(":")
            headers[key.strip().lower()] = value.strip()
        if headers.get("expect", "").lower() == "100-continue" and not self.continued:
            self.continued = True
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        start = end + 4
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = bytearray()
            while True:
                eol = buf.find(b"\r\n", start)
                if eol < 0:
                    return None
                size = int(bytes(buf[start:eol]).split(b";")[0], 16)
                start = eol + 2
                if size == 0:
                    # trailers (streaming errors) end with an empty line
                    while True:
                        eol = buf.find(b"\r\n", start)
                        if eol < 0:
                            return None
                        line, start = bytes(buf[start:eol]), eol + 2
                        if not line:
                            break
                        key, _, value = line.decode("latin-1").partition(":")
                        headers[key.strip().lower()] = value.strip()
                    break
                if len(buf) < start + size + 2:
                    return None
                body += buf[start : start + size]
                start += size + 2
        else:
            length = int(headers.get("content-length") or 0)
            if len(buf) < start + length:
                return None
            body = buf[start : start + length]
            start += length
        body = bytes(body)
        del buf[:start]
        self.continued = False
        return method, path, headers, body


class RuntimeApi:
    """The endpoint for one target process."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.epoll = select.epoll()
        self.epoll.register(self.listener.fileno(), select.EPOLLIN)
        self.conns = {}
        self.ready = []  # complete requests not handed out yet

    def close(self):
        for conn in self.conns.values():
            conn.sock.close()
        self.listener.close()
        self.epoll.close()

    def request(self, alive, timeout):
        """Block for the next request: (arrival time, conn, method, path, headers, body)."""
        deadline = time.monotonic() + timeout
        while not self.ready:
            events = self.epoll.poll(0.25)
            arrived = now()
            for fd, _ in events:
                if fd == self.listener.fileno():
                    try:
                        sock, _ = self.listener.accept()
                    except BlockingIOError:
                        continue
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.conns[sock.fileno()] = Conn(sock)
                    self.epoll.register(sock.fileno(), select.EPOLLIN)
                    continue
                conn = self.conns[fd]
                try:
                    data = conn.sock.recv(1 << 18)
                except ConnectionError:
                    data = b""
                if not data:
                    self.epoll.unregister(fd)
                    del self.conns[fd]
                    conn.sock.close()
                    continue
                conn.buf += data
                while (parsed := conn.parse()) is not None:
                    self.ready.append((arrived, conn, *parsed))
            if not events:
                alive()
                if time.monotonic() > deadline:
                    raise TargetFailed(f"no request for {timeout:.0f} s")
        return self.ready.pop(0)

    @staticmethod
    def accept(conn):
        body = b'{"status":"OK"}'
        conn.sock.sendall(
            b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )


def next_response(request_id, event):
    deadline_ms = int(time.time() * 1000) + 30_000
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        f"Lambda-Runtime-Aws-Request-Id: {request_id}\r\n"
        f"Lambda-Runtime-Deadline-Ms: {deadline_ms}\r\n"
        "Lambda-Runtime-Invoked-Function-Arn: "
        "arn:aws:lambda:us-east-1:123456789012:function:bench\r\n"
        f"Lambda-Runtime-Trace-Id: {trace}\r\n"
        f"Content-Length: {len(event)}\r\n\r\n"
    )
    return head.encode() + event


# --------------------------------------------------------------------------
# What the kernel knows about a process


def cpu_ns(pid):
    """User+system CPU time of a process, all threads, in ns (its POSIX CPU clock)."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def peak_rss_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


class Foreign:
    """CPU used by processes other than this harness, the service and the target.

    It reads every process' own CPU clock, exact to the ns, because /proc/stat counts in
    10 ms ticks and a cold start takes 3 ms. Short-lived processes can escape it.
    """

    def __init__(self, service_pids):
        self.ours = {os.getpid(), *service_pids}

    def _clocks(self):
        clocks = {}
        for name in os.listdir("/proc"):
            if name.isdigit() and (pid := int(name)) not in self.ours:
                try:
                    clocks[pid] = cpu_ns(pid)
                except OSError:
                    pass
        return clocks

    def start(self):
        self.before, self.wall = self._clocks(), now()

    def cores(self, target_pid=None):
        """Cores' worth of foreign CPU use since start()."""
        after, wall = self._clocks(), now() - self.wall
        after.pop(target_pid, None)
        return sum(ns - self.before.get(pid, 0) for pid, ns in after.items()) / wall

    def wait_quiet(self, limit, patience):
        """Wait until half a second was quiet, at most `patience` s; returns the s waited."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < patience:
            self.start()
            time.sleep(0.5)
            if self.cores() <= limit:
                break
        return waited


# --------------------------------------------------------------------------
# Targets


def expand(value, variables):
    """Replace ${NAME} in strings, lists and tables."""
    if isinstance(value, str):
        def lookup(match):
            name, _, default = match[1].partition(":-")
            return str(variables.get(name) or default or f"{name}-is-not-set")
        return re.sub(r"\$\{([^}]+)\}", lookup, value)
    if isinstance(value, list):
        return [expand(v, variables) for v in value]
    if isinstance(value, dict):
        return {k: expand(v, variables) for k, v in value.items()}
    return value


@contextlib.contextmanager
def affinity(cpus):
    """Runs its block on these CPUs only (None: wherever)."""
    before = os.sched_getaffinity(0)
    try:
        if cpus:
            os.sched_setaffinity(0, cpus)
        yield
    finally:
        os.sched_setaffinity(0, before)


class Target:
    def __init__(self, spec, folder):
        self.name = spec["name"]
        self.scenario = spec["scenario"]
        self.command = spec["command"]
        self.cwd = spec.get("cwd")
        self.handler = spec.get("handler", "bootstrap")
        self.env = {k: str(v) for k, v in spec.get("env", {}).items()}
        self.memory = spec.get("memory", 128)
        self.warm = spec.get("invocations")
        self.status = spec.get("status", 200)
        self.contains = spec.get("contains", "")
        artifact = spec.get("artifact", self.command[0])
        self.artifact = artifact if isinstance(artifact, list) else [artifact]
        files = spec["event"] if isinstance(spec["event"], list) else [spec["event"]]
        # "@i@" in an event is replaced by 000..099, so that a run walks over 100 keys
        self.events = []
        for i in range(100):
            text = (folder / files[i % len(files)]).read_text().replace("@i@", f"{i:03}")
            self.events.append(json.dumps(json.loads(text), separators=(",", ":")).encode())

    def missing(self):
        """The first thing of this target that is not there, or None."""
        if shutil.which(self.command[0]) is None:
            return self.command[0]
        return next((a for a in self.artifact if not os.path.exists(a)), None)

    def size(self):
        """(bytes, bytes as a deflate-9 zip would hold them) of the artifact files."""
        raw = packed = 0
        for root in map(pathlib.Path, self.artifact):
            for path in [root] if root.is_file() else sorted(root.rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    data = path.read_bytes()
                    raw += len(data)
                    packed += len(zlib.compress(data, 9))
        return raw, packed

    def check(self, path, body):
        if path.endswith("/error"):
            raise TargetFailed(f"invocation error: {body[:500].decode(errors='replace')}")
        # lambda_http's streaming form puts a JSON prelude, 8 NULs, then the body
        prelude, _, tail = body.partition(b"\0" * 8)
        reply = json.loads(prelude)
        text = tail.decode() if tail else str(reply.get("body", ""))
        if reply.get("statusCode") != self.status or self.contains not in text:
            raise TargetFailed(f"unexpected response: {body[:500].decode(errors='replace')}")


def run_once(target, warm, base_env, log_path, foreign, cpus=None, timeout=30):
    """One fresh process of a target: init, first invocation, `warm` more. Returns a sample."""
    api = RuntimeApi()
    env = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.port}",
        "_HANDLER": target.handler,
        "LAMBDA_TASK_ROOT": target.cwd or os.path.dirname(os.path.abspath(target.command[0])),
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(target.memory),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/bench",
        "AWS_LAMBDA_LOG_STREAM_NAME": "bench",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE00000000",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        "AWS_SESSION_TOKEN": "session-token-for-the-benchmark",
        **base_env,
        **target.env,
    }
    log = open(log_path, "wb")
    foreign.start()
    with affinity(cpus):  # inherited by the child
        started = now()
        process = subprocess.Popen(
            target.command, env=env, cwd=target.cwd, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True,
        )
    pid = process.pid

    def alive():
        if process.poll() is not None:
            raise TargetFailed(f"exited with {process.returncode}")

    latencies = []
    sample = {}
    sent, in_flight, ids = 0, None, 0
    try:
        while True:
            arrived, conn, method, path, headers, body = api.request(alive, timeout)
            if path == NEXT:
                if not sample:
                    sample["init"] = (arrived - started) / 1e6
                    sample["init_cpu"] = cpu_ns(pid) / 1e6
                elif len(latencies) == 1 and "cold_cpu" not in sample:
                    sample["cold_cpu"] = cpu_warm0 = cpu_ns(pid)
                if len(latencies) == warm + 1:
                    break
                ids += 1
                in_flight = f"8476a536-e9f4-11e8-9739-{ids:012d}"
                reply = next_response(in_flight, target.events[ids % len(target.events)])
                sent = now()
                conn.sock.sendall(reply)
            elif method == "POST" and in_flight and path.startswith(
                f"{VERSION}/invocation/{in_flight}/"
            ):
                latencies.append((arrived - sent) / 1e6)
                target.check(path, body)
                api.accept(conn)
            elif method == "POST" and path == VERSION + "/init/error":
                raise TargetFailed(f"init error: {body[:500].decode(errors='replace')}")
            else:
                raise TargetFailed(f"unexpected request {method} {path}")
        cpu_end = cpu_ns(pid)
        sample["foreign_cores"] = round(foreign.cores(pid), 3)
        sample["rss" if warm else "rss_first"] = peak_rss_kib(pid) / 1024
        sample["threads"] = len(os.listdir(f"/proc/{pid}/task"))
    except TargetFailed as failure:
        log.flush()
        tail = pathlib.Path(log_path).read_bytes()[-2000:].decode(errors="replace")
        raise TargetFailed(f"{target.name}: {failure}\n{tail}") from None
    finally:
        with contextlib.suppress(ProcessLookupError):  # the group this harness made for this target
            os.killpg(pid, signal.SIGTERM)  # valgrind then writes what it has counted
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            os.killpg(pid, signal.SIGKILL)
        process.wait()
        log.close()
        api.close()
    sample["first"] = latencies[0]
    sample["cold"] = sample["init"] + sample["first"]
    sample["cold_cpu"] /= 1e6
    if warm:
        warmed = sorted(latencies[1:])
        sample["p50"] = percentile(warmed, 50)
        sample["p99"] = percentile(warmed, 99)
        sample["cpu"] = (cpu_end - cpu_warm0) / 1e6 / warm
    return sample


def percentile(ordered, p):
    return ordered[max(0, math.ceil(len(ordered) * p / 100) - 1)]


# --------------------------------------------------------------------------
# The service the functions talk to (a DynamoDB emulator)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def start_service(spec, variables, scratch):
    port = free_port()
    variables = {**variables, "PORT": port}
    spec = expand(spec, variables)
    log = open(os.path.join(scratch, "service.log"), "wb")
    process = subprocess.Popen(
        spec["command"], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=scratch,
    )
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            break
        except OSError:
            if process.poll() is not None:
                raise SystemExit(f"service exited with {process.returncode}: {spec['command']}")
            time.sleep(0.05)
    else:
        process.kill()
        raise SystemExit("the service does not listen")
    clients = {k: str(v) for k, v in spec.get("env", {}).items()}
    # `tickets db` prints, once it listens, how a shell is to be let in: `use export NAME=VALUE ...`.
    for _ in range(100):
        lines = [line for line in open(log.name) if line.startswith("use ")]
        if lines:
            clients.update(pair.split("=", 1) for pair in lines[0].split()[2:])
            break
        time.sleep(0.05)
    if spec.get("setup"):
        env = {**os.environ, **clients}
        try:
            subprocess.run(spec["setup"], check=True, env=env)
        except subprocess.CalledProcessError:
            process.kill()
            raise
    return process, clients


# --------------------------------------------------------------------------
# Report

COLUMNS = [  # key, heading, format
    ("init", "init ms", "{:.1f}"),
    ("first", "first ms", "{:.2f}"),
    ("cold", "cold ms", "{:.1f}"),
    ("cold_cpu", "cold CPU ms", "{:.1f}"),
    ("p50", "warm p50 ms", "{:.3f}"),
    ("p99", "warm p99 ms", "{:.3f}"),
    ("cpu", "CPU/invoke ms", "{:.3f}"),
    ("rss_first", "RSS first MiB", "{:.1f}"),
    ("rss", "RSS peak MiB", "{:.1f}"),
]


def table(rows):
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    out = []
    for n, row in enumerate(rows):
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
        out.append("| " + " | ".join(cells) + " |")
        if n == 0:
            out.append("|" + "|".join("-" * (w + 1) + (":" if i else "-")
                                      for i, w in enumerate(widths)) + "|")
    return "\n".join(out)


def summarize(target, samples, size):
    """Median and quartiles of every measure over the rounds."""
    result = {"name": target.name, "scenario": target.scenario, "rounds": len(samples),
              "artifact_bytes": size[0], "artifact_zip_bytes": size[1]}
    for key, _, _ in COLUMNS + [("init_cpu", "", ""), ("threads", "", "")]:
        values = sorted(s[key] for s in samples if key in s)
        if values:
            result[key] = {
                "median": statistics.median(values),
                "q1": percentile(values, 25), "q3": percentile(values, 75),
                "min": values[0], "max": values[-1], "n": len(values),
            }
    return result


def report(scenario, results, raw, baseline):
    print(f"\n### {scenario}: medians over rounds\n")
    rows = [["target"] + [h for _, h, _ in COLUMNS] + ["size MB", "zip MB"]]
    for r in results:
        rows.append([r["name"]] + [
            f.format(r[k]["median"]) if k in r else "-" for k, _, f in COLUMNS
        ] + [f"{r['artifact_bytes'] / 1e6:.2f}", f"{r['artifact_zip_bytes'] / 1e6:.2f}"])
    print(table(rows))
    if baseline not in raw or len(results) < 2:
        return
    print(f"\n### {scenario}: ratio to `{baseline}`, paired per round: median [quartiles]\n")
    keys = [c for c in COLUMNS if c[0] in ("cold", "cold_cpu", "p50", "p99", "cpu", "rss")]
    rows = [["target"] + [h for _, h, _ in keys]]
    for r in results:
        row = [r["name"]]
        r["ratio_to"], r["ratio"] = baseline, {}
        for key, _, _ in keys:
            pairs = sorted(
                mine[key] / base[key]
                for mine, base in zip(raw[r["name"]], raw[baseline])
                if mine and base and key in mine and key in base
            )
            if not pairs:
                row.append("-")
                continue
            mid, low, high = statistics.median(pairs), percentile(pairs, 25), percentile(pairs, 75)
            r["ratio"][key] = {"median": mid, "q1": low, "q3": high, "n": len(pairs)}
            row.append(f"{mid:.2f} [{low:.2f}-{high:.2f}]")
        rows.append(row)
    print(table(rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=pathlib.Path, help="target file (TOML or JSON)")
    parser.add_argument("--scenario", help="only these scenarios, comma-separated")
    parser.add_argument("--targets", help="only these targets, comma-separated")
    parser.add_argument("--baseline", help="target the ratios refer to (else the config's)")
    parser.add_argument("--rounds", type=int, default=7, help="fresh processes with warm invocations")
    parser.add_argument("--cold-rounds", type=int, default=20,
                        help="more fresh processes with the first invocation only")
    parser.add_argument("--warm", type=int, help="warm invocations a round (else the target's, or 1000)")
    parser.add_argument("--max-foreign", type=float, default=0.15,
                        help="retake a sample when other processes used more cores than this")
    parser.add_argument("--patience", type=float, default=300,
                        help="seconds in all to wait for a quiet machine; then noisy samples are kept")
    parser.add_argument("--pin", choices=("none", "one", "split"), default="one",
                        help="one: everything on one CPU; split: targets on their own CPU")
    parser.add_argument("--json", type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parents[1] / "target" / "lambda-bench.json")
    args = parser.parse_args()

    text = args.config.read_text()
    config = json.loads(text) if args.config.suffix == ".json" else tomllib.loads(text)
    folder = args.config.resolve().parent
    variables = {"PYTHON": sys.executable, **os.environ, "HERE": str(folder)}
    for key, value in config.get("vars", {}).items():  # defaults, the environment wins
        variables.setdefault(key, expand(value, variables))
    wanted = lambda value, option: option is None or value in option.split(",")

    targets = []
    for spec in config["target"]:
        target = Target(expand(spec, variables), folder)
        if wanted(target.scenario, args.scenario) and wanted(target.name, args.targets):
            if missing := target.missing():
                print(f"skipped {target.scenario}/{target.name}: not there: {missing}", file=sys.stderr)
            else:
                targets.append(target)
    if not targets:
        raise SystemExit("nothing to run")

    all_cpus = sorted(os.sched_getaffinity(0))
    target_cpus = None if args.pin == "none" else {all_cpus[-1]}
    if args.pin != "none":  # harness and, inherited, the service
        os.sched_setaffinity(0, {all_cpus[-1]} if args.pin == "one" else set(all_cpus[:-1]))

    scratch = tempfile.mkdtemp(prefix="lambda-bench-")
    service, base_env = None, {}
    output = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "cpus": len(all_cpus),
              "pin": args.pin, "args": {k: str(v) for k, v in vars(args).items()},
              "results": [], "samples": {}}
    order = random.Random(1)
    retaken, patience = 0, args.patience
    try:
        if "service" in config:
            service, base_env = start_service(config["service"], variables, scratch)
        base_env = {**expand(config.get("env", {}), variables), **base_env}
        foreign = Foreign([service.pid] if service else [])
        for scenario in dict.fromkeys(t.scenario for t in targets):
            group = [t for t in targets if t.scenario == scenario]
            samples = {t.name: [] for t in group}
            failed = set()
            plan = ["cold"] * args.cold_rounds + ["warm"] * args.rounds
            for number, kind in enumerate(["discard", *plan]):
                for target in order.sample(group, len(group)):
                    if target.name in failed:
                        continue
                    warm = (args.warm or target.warm or 1000) if kind == "warm" else 0
                    while True:
                        try:
                            sample = run_once(target, warm, base_env,
                                              os.path.join(scratch, "target.log"), foreign, target_cpus)
                        except TargetFailed as failure:
                            print(f"FAILED {scenario}/{failure}", file=sys.stderr)
                            failed.add(target.name)
                            break
                        if sample["foreign_cores"] <= args.max_foreign:
                            break
                        if patience <= 0:
                            sample["noisy"] = True
                            break
                        retaken += 1
                        patience -= foreign.wait_quiet(args.max_foreign, patience)
                    if kind != "discard" and target.name not in failed:
                        samples[target.name].append(sample)
                if sys.stderr.isatty():
                    print(f"\r{scenario}: round {number}/{len(plan)}, {retaken} retaken ",
                          end="\r", file=sys.stderr, flush=True)
            group = [t for t in group if t.name not in failed]
            results = [summarize(t, samples[t.name], t.size()) for t in group]
            report(scenario, results, samples,
                   args.baseline or config.get("baseline", {}).get(scenario))
            output["results"] += results
            output["samples"][scenario] = samples
    finally:
        if service:
            service.kill()
            service.wait()
        shutil.rmtree(scratch, ignore_errors=True)

    noisy = sum(s.get("noisy", False) for g in output["samples"].values() for v in g.values() for s in v)
    output["retaken"], output["noisy"] = retaken, noisy
    print(f"\n{retaken} samples retaken for foreign CPU use, {noisy} kept although noisy")
    args.json.write_text(json.dumps(output, indent=1))


if __name__ == "__main__":
    main()
