from __future__ import annotations

from recsys_mtl.metrics import Undefined
from recsys_mtl.runs.csv_tables import metrics_csv, segments_csv


def test_a_row_for_each_metric_with_the_baselines() -> None:
    metrics = {
        "auc": {"value": 0.75, "low": 0.5, "high": 0.875},
        "pr_auc": {"value": None, "reason": "one class"},
    }
    tasks = {"a, b": {"kind": "binary", "metrics": metrics}}
    others = {"constant": {"a, b": {"auc": 0.5, "pr_auc": Undefined("one class")}}, "other": {}}
    assert metrics_csv(tasks, others).splitlines() == [
        "task,metric,model,low,high,constant,other",
        '"a, b",auc,0.75,0.5,0.875,0.5,',
        '"a, b",pr_auc,,,,,',
    ]
    assert segments_csv(tasks) == ""


def test_a_row_for_each_segment_and_metric() -> None:
    segment = {"rows": 7, "labelled": 5, "metrics": {"auc": {"value": 0.625}}}
    tasks = {"click": {"metrics": {}, "segments": {"region": {"north": segment}}}}
    assert segments_csv(tasks).splitlines() == [
        "column,segment,task,rows,labelled,metric,value",
        "region,north,click,7,5,auc,0.625",
    ]
