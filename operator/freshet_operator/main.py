"""The operator's process: wait for the Lease, watch and work, hand over in order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from freshet.runtime import logs
from freshet.runtime.settings import ConfigurationError, KafkaSettings
from freshet.stores import kafka
from freshet_operator import handlers, health, scope
from freshet_operator.api.client import Client
from freshet_operator.api.errors import ApiError
from freshet_operator.crash import VARIABLE
from freshet_operator.engine import Engine
from freshet_operator.lease import Lease
from freshet_operator.login import login
from freshet_operator.observe.kafka import Kafka
from freshet_operator.scope import Scope
from freshet_operator.settings import Settings
from freshet_operator.store import BLIND_SECONDS

_log = logging.getLogger(__name__)

DRAIN_SECONDS = 8.0
_NOISY = ("kopf", "aiohttp.access")
Result = TypeVar("Result")


def main() -> None:
    """Runs until SIGTERM. Exit codes: 0 asked to end, 1 a fault that a new process may not have, 2 configuration."""
    try:
        settings = Settings.from_environment(os.environ)
        logs.configure("operator", settings.log_format, settings.log_level)
        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.WARNING)
        broker = KafkaSettings(bootstrap=settings.kafka, config_file=_path(settings.kafka_config))
        admin = kafka.admin(broker)
        login()
    except ConfigurationError as error:
        sys.exit(f"freshet-operator: {error}")
    code = _loop_runner().run(run(settings, admin, partial(kafka.consumer, broker), os.environ))
    sys.exit(code)


async def run(
    settings: Settings, admin: AdminClient, consumer: Callable[[str], Consumer], env: Mapping[str, str]
) -> int:
    """One replica from its start to its end; returns the exit code."""
    stop = asyncio.Event()
    _on_signals(stop)
    checks = health.Health()
    try:
        server = await checks.serve(settings.metrics_port)
    except OSError as error:
        _log.error("FRESHET_METRICS_PORT: %s", error)
        return 2
    client = Client(login)
    lease = Lease(client, settings.own_namespace, settings.lease_name, settings.identity)
    checks.ready["api"] = health.answered(lambda: client.last_answer)
    try:
        if await _unless_stopped(stop, lease.acquire()) is None:
            return 0
        keeper = asyncio.create_task(_keep(lease))
        try:
            return await _lead(settings, client, Kafka(admin, consumer), lease, checks, stop, env)
        finally:
            keeper.cancel()
            await lease.release()
    finally:
        await client.close()
        await server.cleanup()


async def _lead(
    settings: Settings,
    client: Client,
    kafka: Kafka,
    lease: Lease,
    checks: health.Health,
    stop: asyncio.Event,
    env: Mapping[str, str],
) -> int:
    """What the holder of the Lease does."""
    looked = await _unless_stopped(stop, scope.wait(client, settings.namespaces))
    if looked is None:
        return 0
    found = looked.result()
    engine = Engine(settings, client, kafka, lease, env.get(VARIABLE, ""), found)
    _check(checks, engine)
    try:
        started = await _unless_stopped(stop, engine.start())
    except ApiError as error:
        _log.error("the resources cannot be listed: %s", error)
        return 1
    if started is None:
        await engine.stop(0.0)
        return 0
    return await _watch(engine, stop, found, scope.until_changed(client, settings.namespaces, found))


def _check(checks: health.Health, engine: Engine) -> None:
    """What a leader's liveness is."""
    queue, store = engine.queue, engine.store
    checks.live["reconcile"] = health.no_longer_than(
        health.STUCK_SECONDS, lambda: queue.oldest_work_seconds, "a reconcile has been running"
    )
    checks.live["watch"] = health.no_longer_than(
        BLIND_SECONDS, store.blind_seconds, "the watch has not told of a change that a list shows"
    )


async def _watch(engine: Engine, stop: asyncio.Event, found: Scope, changed: Coroutine[Any, Any, None]) -> int:
    """Runs kopf until the signal to stop, or until kopf cannot go on, or until it would have to watch other namespaces;
    drains the engine in between.
    """
    end_watch, ready = asyncio.Event(), asyncio.Event()
    watch = asyncio.create_task(handlers.run(engine.router, found.namespaces, end_watch, ready))
    stopped, is_ready = asyncio.create_task(stop.wait()), asyncio.create_task(ready.wait())
    moved = asyncio.create_task(changed)
    await asyncio.wait([is_ready, watch, stopped], return_when=asyncio.FIRST_COMPLETED)
    _on_signals(stop)  # kopf has put its own in place, which would not drain
    await asyncio.wait([watch, stopped, moved], return_when=asyncio.FIRST_COMPLETED)
    code = 0 if stop.is_set() else _why(watch)
    await engine.stop(DRAIN_SECONDS)
    end_watch.set()
    for task in (stopped, is_ready, moved):
        task.cancel()
    await asyncio.wait([watch], timeout=2.0)
    return code


def _why(watch: asyncio.Task[None]) -> int:
    """kopf has ended by itself: after a signal that came before ours were in place again, or in error; or it goes on,
    in the wrong namespaces.
    """
    if not watch.done():
        _log.warning("the right to read a namespace came or went: the process starts anew, to watch what it can read")
        return 1
    error = watch.exception()
    if error is None:
        return 0
    _log.error("the watch ended, the process starts anew: %s: %s", type(error).__name__, error)
    return 1


async def _keep(lease: Lease) -> None:
    """A replica that lost the Lease must not finish what it was about to write: it ends at once, tidying nothing."""
    await lease.keep()
    _log.error("the lease is lost: this replica ends")
    logging.shutdown()
    os._exit(1)


async def _unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result] | None:
    """Waits for the work or for the signal to stop; returns the work if it was done. Raises what the work raised."""
    task = asyncio.create_task(work)
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        task.result()
        return task
    task.cancel()
    await asyncio.wait([task])
    return None


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def _loop_runner() -> asyncio.Runner:
    try:
        import uvloop
    except ImportError:  # not made for Windows
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def _path(text: str) -> Path | None:
    return Path(text) if text else None
