from __future__ import annotations

import threading
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daetalker.streamer.metrics import Metrics


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """A sample's value; 0 if there is none."""
    body, kind = metrics.render()
    assert kind.startswith("text/plain")
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return 0.0


def test_each_kind_of_figure_arrives() -> None:
    metrics = Metrics()
    metrics.stage("speech", 0.012)
    metrics.stage("speech", 0.3)
    metrics.frame("shown")
    metrics.frame("skipped", 3)
    metrics.drift(-45.0)
    metrics.session("opened", "talk")
    metrics.session("opened", "talk")
    metrics.session("closed", "talk")
    metrics.load(0.4)
    metrics.loop_lag(0.002)
    metrics.seats(1, ready=True)
    metrics.build("1.2.3", profile="default")
    assert value(metrics, "daetalker_stage_seconds_count", stage="speech") == 2
    assert value(metrics, "daetalker_stage_seconds_sum", stage="speech") == pytest.approx(0.312)
    assert value(metrics, "daetalker_stage_seconds_bucket", stage="speech", le="0.015") == 1
    assert value(metrics, "daetalker_frames_total", kind="shown") == 1
    assert value(metrics, "daetalker_frames_total", kind="skipped") == 3
    assert value(metrics, "daetalker_av_drift_seconds_sum") == pytest.approx(0.045)
    assert value(metrics, "daetalker_sessions", kind="talk") == 1
    assert value(metrics, "daetalker_sessions_opened_total", kind="talk") == 2
    assert value(metrics, "daetalker_engine_load") == 0.4
    assert value(metrics, "daetalker_event_loop_lag_seconds_count") == 1
    assert value(metrics, "daetalker_seats_taken") == value(metrics, "daetalker_ready") == 1
    assert value(metrics, "process_resident_memory_bytes") > 1e7
    assert value(metrics, "process_open_fds") > 2
    assert value(metrics, "daetalker_threads") >= threading.active_count()
    assert 'version="1.2.3"' in metrics.render()[0].decode()


def test_frames_that_never_happened_are_zero_not_missing() -> None:
    text = Metrics().render()[0].decode()
    for kind in ("shown", "late", "held", "skipped"):
        assert f'daetalker_frames_total{{kind="{kind}"}} 0.0' in text


def test_two_servers_of_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.frame("shown")
    assert value(other, "daetalker_frames_total", kind="shown") == 0


def test_reasons_of_refusals_stay_few_whatever_comes() -> None:
    metrics = Metrics()
    metrics.refused('v=0 "SDP"\n')
    for number in range(1000):
        metrics.refused("".join(chr(97 + int(digit)) for digit in str(number)))
    text = metrics.render()[0].decode()
    assert text.count("daetalker_refused_total{") <= 66
    assert value(metrics, "daetalker_refused_total", reason="other") > 900
    assert "SDP" not in text


def test_a_plugin_is_in_one_state() -> None:
    metrics = Metrics()
    metrics.plugins({"mqtt": "running"})
    metrics.plugins({"mqtt": "removed"})
    assert value(metrics, "daetalker_plugin_state", plugin="mqtt", state="running") == 0
    assert value(metrics, "daetalker_plugin_state", plugin="mqtt", state="removed") == 1


def test_counting_from_many_threads_loses_nothing() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(500):
            metrics.frame("shown")
            metrics.stage("frame", 0.01)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(metrics, "daetalker_frames_total", kind="shown") == 2000
    assert value(metrics, "daetalker_stage_seconds_count", stage="frame") == 2000


def test_counting_is_cheap_enough_for_every_frame() -> None:
    """Two microseconds on an idle machine; a session notes some 150 figures a second."""
    metrics = Metrics()
    start_s = time.thread_time()
    for _ in range(2000):
        metrics.stage("frame", 0.01)
    assert (time.thread_time() - start_s) / 2000 < 100e-6
