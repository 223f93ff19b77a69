"""The report page: what it claims, what it shows, and that nothing a user typed can act on it."""

from __future__ import annotations

import base64
import copy
import hashlib
import re
import string
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from sartor import page
from sartor.page import render

Record = dict[str, Any]

VOID = {"meta", "input", "br", "col"}
SUPPORT = [
    "refund_status",
    "cancel_order",
    "where_is_my_order",
    "return_an_item",
    "change_address",
    "payment_failed",
    "reset_password",
    "damaged_item",
    "speak_to_a_person",
    "delivery_options",
    "discount_code",
    "invoice_request",
    "warranty_claim",
    "close_account",
]


# ---------------------------------------------------------------- fixtures: records as builds write them


def value(measure: str, measured: float, low: float, high: float, n: int, unit: str = "", **more: Any) -> Record:
    setting = [["concurrency", 1.0]] if measure.startswith("latency") else []
    key = {"measure": measure, "target": None, "for_class": None, "where": None, "setting": setting} | more.pop(
        "key", {}
    )
    name = measure + (" at concurrency 1" if setting else "")
    method = {"accuracy": "Clopper–Pearson", "latency_p95": "order statistics over 24 windows of 3 servers"}.get(
        measure, ""
    )
    return {
        "name": more.pop("name", name),
        "key": key,
        "measured": measured,
        "low": low,
        "high": high,
        "n": n,
        "unit": unit,
        "confidence": 0.95,
        "method": method,
        "note": "",
        "details": {},
    } | more


def need(text: str, measure: str, op: str, limit: float, verdict: str, measured: Any, low: Any, high: Any) -> Record:
    unit = {"size": "MB", "latency_p95": "ms"}.get(measure, "")
    return {
        "need": text,
        "measure": measure,
        "op": op,
        "limit": limit,
        "unit": unit,
        "measured": measured,
        "low": low,
        "high": high,
        "n": 390 if measure == "accuracy" else 6000,
        "confidence": 0.95,
        "setting": "concurrency 1" if measure.startswith("latency") else "",
        "verdict": verdict,
        "advice": "",
        "method": "Clopper–Pearson" if measure == "accuracy" else "",
    }


def curve(epochs: int, end: float) -> list[Record]:
    return [
        {
            "epoch": i,
            "step": 44 * i,
            "train_loss": 2.6 * 0.42**i + 0.08,
            "valid_loss": 2.5 * 0.5**i + 0.3 + 0.012 * i * i,
            "valid": end - 0.5 * 0.35**i,
            "rows_per_s": 96.0 + i,
        }
        for i in range(1, epochs + 1)
    ]


def candidate(
    name: str, number: int, accuracy: float, latency: float, size: float, seconds: float, **more: Any
) -> Record:
    spread = 1.65 * (accuracy * (1 - accuracy) / 150) ** 0.5
    steps = more.pop(
        "steps", [{"step": "start", "arguments": {"backbone": "ngram"}, "reason": "No download is needed."}]
    )
    return {
        "id": f"c{number}",
        "name": name,
        "plan": {"backbone": more.pop("backbone", "ngram"), "steps": steps, "reason": ""},
        "reason": more.pop("reason", "It costs next to nothing and says what the rest must beat."),
        "forecast_s": seconds * 1.2,
        "seconds": seconds,
        "status": "measured",
        "why": "",
        "chance": 0.5,
        "values": [
            value("accuracy", accuracy, accuracy - spread, min(1.0, accuracy + spread), 150),
            value("latency_p95", latency, latency * 0.96, latency * 1.05, 2000, "ms"),
            value("size", size, size, size, 1, "MB"),
        ],
        "curve": [],
        "flips": None,
    } | more


def reliability(rows: int, lean: float) -> list[Record]:
    rng = np.random.default_rng(3)
    bins = []
    for i in range(4, 15):
        confidence = (i + 0.5) / 15
        n = int(rows * (0.02 + 0.5 * (i / 15) ** 6))
        accuracy = float(np.clip(confidence - lean + rng.normal(0, 0.03), 0, 1))
        bins.append({"low": i / 15, "high": (i + 1) / 15, "n": n, "confidence": confidence, "accuracy": accuracy})
    return bins


def confusion(labels: list[str], rows_each: int, wrong: float) -> Record:
    rng = np.random.default_rng(5)
    matrix = np.zeros((len(labels), len(labels)), dtype=int)
    for i in range(len(labels)):
        n = int(rng.integers(rows_each // 2 + 1, rows_each * 2))
        errors = int(rng.binomial(n, wrong))
        matrix[i, i] = n - errors
        for _ in range(errors):
            matrix[i, (i + int(rng.integers(1, min(4, len(labels))))) % len(labels)] += 1
    return {"labels": labels, "matrix": matrix.tolist()}


def support() -> Record:
    """A build that met everything."""
    start = {"step": "start", "arguments": {"backbone": "all-MiniLM-L6-v2"}, "reason": "English; the body is embedded."}
    train = {
        "step": "train",
        "arguments": {"epochs": 6, "learning_rate": 3e-4, "tokens_per_batch": 1024, "smoothing": 0.05, "bf16": False},
        "reason": "700 rows over 14 classes: few enough that six passes fit 90 s of the budget.",
    }
    quantise = {
        "step": "quantise",
        "arguments": {"method": "dynamic int8", "per_channel": True},
        "reason": "This processor has VNNI.",
    }
    texts = [
        "My order said delivered but the box was empty, so do I send the empty box back or do you just refund me??",
        "hi, moved flat last week, the parcel is still going to the old one. pls change before it ships",
        "I was charged twice!! And the code SPRING did not work either.",
        "can u close it. and delete my data",
    ]
    mistakes = [
        {
            "row": 37 * i + 12,
            "inputs": {"message": texts[i % 4]},
            "expected": SUPPORT[(3 * i) % 14],
            "answered": SUPPORT[(3 * i + 1) % 14],
            "probability": 0.991 - 0.02 * i,
        }
        for i in range(16)
    ]
    float_parent = candidate(
        "MiniLM fine-tuned",
        4,
        0.947,
        7.9,
        91.0,
        84.0,
        backbone="all-MiniLM-L6-v2",
        steps=[start, train],
        reason="Frozen features leave 3 points to the need; tuning the body closes such gaps.",
        why="Its files take 91 MB; the need is 40 MB.",
        curve=curve(6, 0.947),
        chance=0.0,
    )
    chosen = candidate(
        "MiniLM fine-tuned, int8",
        5,
        0.94,
        4.1,
        24.3,
        9.5,
        backbone="all-MiniLM-L6-v2",
        steps=[start, train, quantise],
        reason="The float model meets all but the size; int8 is a quarter of it.",
        chance=0.97,
        flips={"of": "c4", "n": 150, "flips": 2},
    )
    tables = candidate(
        "character and word n-grams", 2, 0.853, 0.9, 6.1, 3.2, why="accuracy 0.853 on validation: 5 points short."
    )
    frozen = candidate(
        "MiniLM frozen, linear head",
        3,
        0.88,
        7.7,
        91.0,
        14.0,
        backbone="all-MiniLM-L6-v2",
        steps=[start, {"step": "freeze", "arguments": {}, "reason": "Features are computed once."}],
        why="accuracy 0.880 on validation, and too large.",
    )
    failed = candidate(
        "DeBERTa-v3 small", 6, 0.9, 30.0, 140.0, 2.0, status="failed", why="Not in the cache and offline."
    )
    failed |= {"values": [], "chance": None}
    return {
        "schema": 1,
        "exit": 0,
        "name": "support",
        "created": "2026-11-23T18:00:00Z",
        "sartor": "0.1.0",
        "needs": [
            need("accuracy >= 0.9", "accuracy", ">=", 0.9, "met", 0.9308, 0.9058, 0.951),
            need("latency_p95 <= 10 ms at concurrency 1", "latency_p95", "<=", 10, "met", 4.31, 4.12, 4.63),
            need("size <= 40 MB", "size", "<=", 40, "met", 24.31, 24.31, 24.31),
        ],
        "chosen": "c5",
        "reason": "It is the only candidate that meets every need on the validation rows; int8 costs 2 flipped answers "
        "of 150 against its float parent and saves 67 MB.",
        "candidates": [
            candidate("majority class", 1, 0.073, 0.4, 0.01, 0.3, backbone="trivial"),
            tables,
            frozen,
            float_parent,
            chosen,
            failed,
        ],
        "findings": [
            {
                "code": "audit.conflict",
                "severity": "warning",
                "message": "3 texts stand in the data under different labels, such as 'where is my money' as "
                "'refund_status' and 'payment_failed'.",
                "advice": "Decide which label is right; a model cannot learn both.",
                "count": 6,
                "rows": [41, 377, 520, 811, 902, 1017],
                "details": {"examples": [["where is my money", ["refund_status", "payment_failed"]]]},
            },
            {
                "code": "audit.duplicate",
                "severity": "warning",
                "message": "5 rows repeat another row. Copies are kept in the same split.",
                "advice": "Nothing needs to be done; remove them if they were not meant.",
                "count": 5,
                "rows": [3, 4, 77, 310, 640],
                "details": {},
            },
            {
                "code": "audit.imbalance",
                "severity": "note",
                "message": "7.3% of the rows are 'where_is_my_order'.",
                "advice": "",
                "count": 82,
                "rows": [],
                "details": {"share": 0.073},
            },
        ],
        "data": {
            "source": "examples/support/support.csv",
            "rows": 1240,
            "splits": {"train": 700, "valid": 150, "calib": 0, "test": 390, "unlabelled": 0},
            "rule": "Random by class with seed 0; copies of a text stay together. 390 test rows prove accuracy >= 0.9 "
            "with probability 0.9 when the truth is 0.94.",
            "fingerprint": "ab1290fe77c1d2aa",
            "classes": {name: 120 - 6 * i for i, name in enumerate(SUPPORT)},
            "target": "intent",
            "inputs": ["message"],
            "set_aside": [{"file": "support.csv", "line": 612, "reason": "has 1 cell, the header has 2"}],
            "notes": ["UTF-8", "comma", "header"],
        },
        "values": [
            value("accuracy", 0.9308, 0.9058, 0.951, 390),
            value("macro_f1", 0.926, 0.899, 0.948, 390, method="bootstrap over examples, 10,000 draws"),
            value("calibration_error", 0.031, 0.018, 0.058, 390, method="bootstrap over examples"),
            value("latency_p95", 4.31, 4.12, 4.63, 6000, "ms"),
            value("size", 24.31, 24.31, 24.31, 1, "MB", note="bytes of the files marked deploy"),
        ],
        "figures": {
            "intent": {
                "confusion": confusion(SUPPORT, 28, 0.07),
                "reliability": reliability(390, 0.03),
                "mistakes": mistakes,
            }
        },
        "baseline": {"name": "majority class", "measured": 0.073},
        "time": {
            "total_s": 143.2,
            "budget_s": 300,
            "stages": [
                {"name": name, "seconds": seconds}
                for name, seconds in {
                    "read": 0.3,
                    "audit": 1.1,
                    "majority class": 0.3,
                    "character and word n-grams": 3.2,
                    "MiniLM frozen, linear head": 14.0,
                    "MiniLM fine-tuned": 84.0,
                    "MiniLM fine-tuned, int8": 9.5,
                    "measure": 26.1,
                    "package": 4.7,
                }.items()
            ],
        },
        "environment": {
            "machine": "build-7",
            "cpu": "AMD EPYC 9754",
            "cores": 2,
            "threads": 2,
            "isa": ["avx2", "avx512f", "avx512_vnni"],
            "memory_gb": 24,
            "python": "3.11.7",
            "platform": "Linux-6.1-x86_64",
            "versions": {"torch": "2.13.0", "onnxruntime": "1.30.0", "tokenizers": "0.23.3"},
        },
        "command": "sartor build examples/support/needs.yaml --out runs/support",
    }


def sentiment_missed() -> Record:
    """Exit 3: two classes, the same file as train and test, a need out of reach."""
    report = support()
    labels = ["negative", "positive"]
    missed = need("accuracy >= 0.999", "accuracy", ">=", 0.999, "missed", 0.8924, 0.8797, 0.904)
    missed |= {
        "n": 1821,
        "advice": "The best of 5 candidates is 11 points short. Relabel the mistakes listed below first.",
    }
    leaked = value("accuracy", 0.8924, 0.8797, 0.904, 1821, name="accuracy")
    clean = value(
        "accuracy",
        0.871,
        0.857,
        0.884,
        1700,
        name="accuracy without leaked rows",
        note="121 test rows also stand in train",
    )
    leak = {
        "code": "audit.leak",
        "severity": "error",
        "message": "121 of the 1,821 test rows also stand in the training rows.",
        "advice": "Give a test file with rows of its own.",
        "count": 121,
        "rows": list(range(7, 7 + 121)),
        "details": {},
    }
    report |= {"exit": 3, "name": "sst2", "needs": [missed, *report["needs"][1:]]}
    report["values"] = [leaked, clean, *report["values"][3:]]
    report["findings"] = [*report["findings"], leak]
    report["figures"] = {
        "label": {
            "confusion": {"labels": labels, "matrix": [[801, 111], [85, 824]]},
            "reliability": reliability(1821, 0.09),
            "mistakes": support()["figures"]["intent"]["mistakes"][:3],
        }
    }
    report["data"] = report["data"] | {"classes": {"negative": 3310, "positive": 3610}, "rows": 8741, "target": "label"}
    asked = {"need": "accuracy >= 0.999", "measure": "accuracy", "op": ">=", "unit": "", "limit": 0.999}
    slower = {"need": "latency_p95 <= 10 ms", "measure": "latency_p95 at concurrency 1", "op": "<=", "unit": "ms"}
    values = {"accuracy": 0.89, "latency_p95 at concurrency 1": 3.2, "size": 23.5}
    report["relaxations"] = {
        "blocking": [{"need": "accuracy >= 0.999", "how": "alone", "best": {"name": "large", "measured": 0.91}}],
        "points": [
            {
                "candidate": "c2",
                "name": "MiniLM, int8",
                "proven": True,
                "relax": [asked | {"offer": 0.879, "measured": 0.8924}],
                "values": values,
            },
            {
                "candidate": "c1",
                "name": "large",
                "proven": False,
                "relax": [
                    asked | {"offer": 0.895, "measured": 0.91},
                    slower | {"limit": 10, "offer": 14, "measured": 12.5},
                ],
                "values": values | {"accuracy": 0.91, "latency_p95 at concurrency 1": 12.5},
            },
        ],
        "rows": [{"need": "accuracy >= 0.999", "low": 900.0, "mid": 1400.0, "high": None}],
        "time": [{"name": "large searched", "forecast_s": 610.0, "chance": 0.2}],
    }
    return report


def small_unproven() -> Record:
    """Exit 4: sixty test rows."""
    report = support()
    judged = need("accuracy >= 0.88", "accuracy", ">=", 0.88, "unproven", 0.9, 0.811, 0.956)
    judged |= {"n": 60, "advice": "About 940 more test rows would settle it, if the truth is near 0.90."}
    memory = need("memory <= 300 MB", "memory", "<=", 300, "unproven", None, None, None) | {"unit": "MB", "n": 0}
    return report | {"exit": 4, "name": "sixty rows", "needs": [judged, *report["needs"][1:], memory]}


def banking() -> Record:
    """77 classes, several candidates close together."""
    report = support()
    labels = [f"{a}_{b}" for a in SUPPORT for b in ("abroad", "by_card", "pending", "of_a_friend", "twice", "fee")][:77]
    report |= {"name": "banking77", "chosen": "c9"}
    report["figures"] = {
        "category": {
            "confusion": confusion(labels, 40, 0.08),
            "reliability": reliability(3080, -0.04),
            "mistakes": report["figures"]["intent"]["mistakes"],
        }
    }
    report["data"] = report["data"] | {"classes": {name: 187 - i for i, name in enumerate(labels)}, "rows": 13083}
    more = [
        candidate(
            f"MiniLM, {n} epochs, int8",
            6 + i,
            0.905 + 0.008 * i,
            4.0 + 0.2 * i,
            24.3,
            100.0 + 30 * i,
            curve=curve(n, 0.93),
        )
        for i, n in enumerate((3, 5, 8, 12))
    ]
    untimed = candidate("teacher of 12 layers", 10, 0.951, 1.0, 440.0, 300.0)
    untimed["values"] = untimed["values"][:1]
    report["candidates"] = report["candidates"][:5] + more + [untimed]
    return report


def hotel() -> Record:
    """Chinese throughout."""
    report = support()
    names = ["多数类", "字词 n 元特征", "冻结的 MiniLM", "微调的 MiniLM", "微调的 MiniLM（int8）", "DeBERTa-v3"]
    for item, name in zip(report["candidates"], names, strict=True):
        item["name"] = name
    labels = ["差评", "好评"]
    report |= {"name": "酒店评论", "reason": "在验证数据上，只有它满足全部需求；与浮点模型相比仅翻转 2 条。"}
    report["figures"] = {
        "情感": {
            "confusion": {"labels": labels, "matrix": [[182, 14], [13, 181]]},
            "reliability": reliability(390, 0.02),
            "mistakes": [
                {
                    "row": 88,
                    "inputs": {"评论": "房间很小，隔音也差，但是前台的小姑娘真的很热情，早餐种类不少。"},
                    "expected": "差评",
                    "answered": "好评",
                    "probability": 0.973,
                }
            ],
        }
    }
    report["data"] = report["data"] | {"classes": {"好评": 652, "差评": 588}, "inputs": ["评论"], "target": "情感"}
    return report


HOSTILE = (
    "<script>alert(1)</script>\"'><img src=https://evil.example/x onerror=alert(2)>\x1b[31m\x00\u202e\ud800 {braces} "
)


def hostile() -> Record:
    """Every string of a report is an attack, and labels are 10 kB long."""
    long = HOSTILE + "长" * 10_000

    def poison(item: Any, key: str = "") -> Any:
        if isinstance(item, dict):
            return {(k if k in KNOWN else HOSTILE + k): poison(v, k) for k, v in item.items()}
        if isinstance(item, list):
            return [poison(part, key) for part in item]
        keeps_meaning = key in {"measure", "op", "verdict", "severity", "status", "id", "chosen"}
        return item if not isinstance(item, str) or keeps_meaning else (long if key in LONG else HOSTILE + item)

    report: Record = poison(small_unproven())
    report["figures"] = {HOSTILE: next(iter(report["figures"].values()))}
    return report


LONG = {"labels", "expected", "answered", "message", "need", "name", "reason", "command"}


def keys_of(item: Any) -> set[str]:
    if isinstance(item, dict):
        return set(item) | {name for part in item.values() for name in keys_of(part)}
    return {name for part in item for name in keys_of(part)} if isinstance(item, list) else set()


KNOWN = keys_of(support()) - set(SUPPORT) - set(support()["environment"]["versions"]) - {"message"} | {"message"}

RECORDS = {
    "support": support,
    "missed": sentiment_missed,
    "unproven": small_unproven,
    "banking": banking,
    "hotel": hotel,
    "hostile": hostile,
    "empty": dict,
}


# ---------------------------------------------------------------- reading the page back


class Reader(HTMLParser):
    """Fails on tags that do not pair up; keeps elements, attributes, and the text in one language."""

    def __init__(self, without: str = "zh-Hans") -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.hidden: list[int] = []
        self.without = without
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in VOID:
            return
        self.open.append(tag)
        if dict(attrs).get("lang") == self.without and tag != "html":
            self.hidden.append(len(self.open))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        if self.hidden and self.hidden[-1] == len(self.open):
            self.hidden.pop()
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.hidden and "style" not in self.open:
            self.text += data


def read(html: str, language: str = "en") -> Reader:
    reader = Reader(without="zh-Hans" if language == "en" else "en")
    reader.feed(html)
    reader.close()
    assert not reader.open, reader.open
    return reader


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_page_is_one_well_formed_file_that_loads_nothing(name: str, lang: str) -> None:
    html = render(RECORDS[name](), lang=lang)
    reader = read(html)
    assert len(html.encode("utf-8")) < 2_000_000
    allowed = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "nav",
        "main",
        "footer",
        "section",
        "article",
    }
    allowed |= {
        "div",
        "span",
        "p",
        "b",
        "a",
        "bdi",
        "code",
        "pre",
        "h1",
        "h2",
        "h3",
        "ol",
        "ul",
        "li",
        "dl",
        "dt",
        "dd",
    }
    allowed |= {
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "details",
        "summary",
        "figure",
        "figcaption",
        "input",
        "label",
    }
    allowed |= {"svg", "g", "path", "circle", "rect", "line", "polyline", "text", "tspan"}
    assert {tag for tag, _ in reader.elements} <= allowed
    for tag, attributes in reader.elements:
        assert not any(attribute.startswith("on") or attribute == "style" for attribute in attributes), (
            tag,
            attributes,
        )
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert style
    assert "url(" not in style.group(1)
    assert "@import" not in style.group(1)


def test_policy_admits_only_the_style_sheet_and_the_pictures_of_the_page() -> None:
    html = render(support())
    policy = next(a["content"] for t, a in read(html).elements if a.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert style
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    allowed = f"style-src 'sha256-{digest}'; img-src data:"
    assert policy == f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


@pytest.mark.parametrize(
    ("record", "headline"),
    [
        (support, "Every need is met"),
        (sentiment_missed, "1 need is missed"),
        (small_unproven, "2 needs are unproven"),
        (dict, "No needs were judged"),
    ],
)
def test_verdict_stands_first(record: Any, headline: str) -> None:
    reader = read(render(record()))
    assert headline in reader.text
    assert reader.text.index(headline) < 400 + len("support") * 4


@pytest.mark.parametrize(
    ("code", "verdict", "headline"),
    [
        (3, "met", "1 need is missed"),
        (4, "met", "1 need is unproven"),
        (0, "missed", "1 need is missed"),
        (0, "passed, surely", "1 need is unproven"),
        (0, None, "1 need is unproven"),
        (1, "met", "The build did not finish (exit 1)"),
        (143, "met", "The build did not finish (exit 143)"),
        (None, "met", "Every need is met"),
    ],
)
def test_page_never_claims_more_than_exit_code_and_verdicts(code: Any, verdict: Any, headline: str) -> None:
    report = {"exit": code, "needs": [{"need": "size <= 40 MB", "measure": "size", "verdict": verdict}]}
    text = read(render(report)).text
    assert headline in text
    assert ("Every need is met" in text) == (headline == "Every need is met")


def test_a_figure_never_rounds_across_its_limit() -> None:
    report = {"needs": [need("accuracy >= 0.9", "accuracy", ">=", 0.9, "missed", 0.89996, 0.88, 0.899996)]}
    text = read(render(report)).text
    assert "0.89996" in text
    assert "no more than 0.899996" in text
    assert "answered 90.0%" not in text
    assert "89.996%" in text


def test_a_share_rounds_to_all_or_nothing_only_when_it_is() -> None:
    assert page._percent(0.99999) == "99.999%"
    assert page._percent(1.0) == "100.0%"
    assert page._percent(0.00001) == "0.001%"
    assert page._percent(0.0) == "0.0%"


def test_needs_tell_what_was_measured_and_why_the_verdict_follows() -> None:
    text = read(render(support())).text
    assert "It answered 93.1% of 390 test rows rightly." in text
    assert "With 95% confidence it is at least 0.906." in text
    assert "With 95% confidence it is at most 4.63\u00a0ms." in text
    assert "That is a fact, not an estimate; 15.7\u00a0MB to spare." in text
    assert "n = 390" in text
    assert "concurrency 1" in text


@pytest.mark.parametrize(("controlled", "said"), [(True, "vouch for what was asked"), (False, "No threshold was sure")])
def test_a_model_that_may_abstain_tells_from_where_on_it_answers(controlled: bool, said: str) -> None:
    report = support()
    chosen = next(one for one in report["candidates"] if one["id"] == report["chosen"])
    chosen["abstains"] = {"below": 0.618, "controlled": controlled, "rows": 400, "coverage": 0.8125, "accuracy": 0.975}
    text = read(render(report)).text
    assert "from a probability of 0.6180 on: on the 400 rows that chose this it answered 81.2%, and 97.5%" in text
    assert said in text
    assert "from a probability of" not in read(render(support())).text


def test_unproven_needs_say_what_would_settle_them() -> None:
    text = read(render(small_unproven())).text
    assert "The limit of 0.88 lies between the bounds 0.811 and 0.956" in text
    assert "About 940 more test rows would settle it" in text
    assert "It was not measured, so nothing is claimed." in text


def test_leak_is_named_beside_the_verdict_with_both_scores() -> None:
    text = read(render(sentiment_missed())).text
    assert "The audit found a fault in the data that touches these figures." in text
    assert "accuracy without leaked rows: 0.871 (0.857 – 0.884)" in text
    assert "121 test rows also stand in train" in text


def test_a_mistake_is_shown_with_its_picture_and_with_no_other() -> None:
    report = sentiment_missed()
    mistakes = report["figures"]["label"]["mistakes"]
    inside = "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 40).decode()  # whole, however long
    mistakes[0] |= {"inputs": {"image": ""}, "pictures": {"image": inside}}
    mistakes[1] |= {"inputs": {"image": ""}, "pictures": {"image": "https://example.org/follow.png"}}
    mistakes[2] |= {"inputs": {"image": ""}, "pictures": {"image": 'data:image/png;base64,"><script>'}}
    html = render(report)
    assert [attributes["src"] for tag, attributes in read(html).elements if tag == "img"] == [inside]
    assert "example.org" not in html
    assert "<script" not in html


def test_beside_a_need_stand_only_readings_of_the_same_measure() -> None:
    report = sentiment_missed()
    asked = "accuracy at coverage 0.5"
    report["needs"][0] |= {"name": asked, "setting": "coverage \u2265 0.5"}
    sure = value("accuracy", 0.936, 0.92, 0.95, 900, name=f"{asked} without leaked rows")
    report["values"].append(sure)
    text = read(render(report)).text
    assert f"{asked} without leaked rows: 0.936" in text
    assert "accuracy without leaked rows: 0.871" not in text


def test_every_candidate_stands_in_plot_and_table_with_why_it_was_not_chosen() -> None:
    html = render(support())
    text = read(html).text
    assert html.count('class="dot"') == 4
    assert html.count('class="dot chosen"') == 1  # the failed one has no figures
    for item in support()["candidates"]:
        assert item["name"] in text
        assert item["why"] in text
    assert "2 of 150against MiniLM fine-tuned" in text
    assert "forecast 1 min 41 s" in text.replace("\u00a0", " ")


def test_a_cut_tells_what_it_took_and_saved_and_fewer_bits_what_they_changed() -> None:
    report = support()
    parent, cut = (
        next(one for one in report["candidates"] if one["id"] == name) | {"precision": "int8"} for name in ("c5", "c2")
    )
    parent |= {"weights": "tuned minilm", "parent": ""}
    cut |= {"weights": "cut", "parent": "tuned minilm", "status": "measured", "seconds": 61.0}
    report["candidates"] = [parent, cut]
    report["flips"] = {
        "of": "its float parent",
        "n": 602,
        "flips": 7,
        "alone": {"n": 602, "differ": 0, "invariant": True},
    }
    text = read(render(report)).text
    assert "MiniLM fine-tuned, int8: accuracy −0.087, 4.6× as fast, 4.0× smaller, 1 min 01 s to make" in " ".join(
        text.split()
    ), text
    assert "7 of 602 answers to the test rows differ" in text
    assert "Answered one at a time, all 602 stay the same." in text
    report["flips"]["alone"]["invariant"] = False
    assert "Every row is answered by itself" in read(render(report)).text
    report["flips"] = None
    assert "answers to the test rows differ" not in read(render(report)).text


def test_what_could_be_had_instead_is_told_with_its_price_and_drawn() -> None:
    html = render(sentiment_missed())
    text = read(html).text.replace("\u00a0", " ")
    for said in (
        "No candidate was likely to meet it.",
        "Nearest on the validation rows: 0.910 (large).",
        "≥ 0.879 instead of 0.999",
        "what the test rows prove of it",
        "≤ 14 ms instead of 10 ms",
        "about 1,400 more training rows like these (900 – …)",
        "about 10 min 10 s more, with an estimated chance of 20%",
    ):
        assert said in text, said
    assert html.count('class="offer"') == 2
    assert "relaxations" not in {a.get("id") for _, a in read(render(support())).elements}


def test_validation_outside_the_interval_of_test_is_said() -> None:
    report = support()
    assert "disagree" not in read(render(report)).text
    report["values"][0] |= {"measured": 0.88, "low": 0.85, "high": 0.905}
    assert "Validation and test disagree: accuracy was 0.940 on validation" in read(render(report)).text


def test_many_classes_show_the_most_confused_and_every_row_still_sums() -> None:
    html = render(banking())
    text = read(html).text
    assert "The 20 classes of 77 that are confused most" in text
    assert html.count('class="cell"') == 20 * 21
    labels = banking()["figures"]["category"]["confusion"]["labels"]
    assert all(label in text for label in labels)  # in the table of classes


def test_expected_calibration_error_is_that_of_the_bins() -> None:
    bins = [
        {"low": 0.4, "high": 0.6, "n": 30, "confidence": 0.5, "accuracy": 0.6},
        {"low": 0.8, "high": 1.0, "n": 70, "confidence": 0.9, "accuracy": 0.8},
    ]
    text = read(render({"figures": {"y": {"reliability": bins}}})).text
    assert "0.100" in text
    assert "10.0 percentage points away" in text
    assert "leans towards overconfidence: it states 4.0 points more" in text


def test_what_users_typed_is_shown_and_cannot_act() -> None:
    html = render(hostile())
    assert "<script" not in html
    assert "<img" not in html
    assert "\x1b" not in html
    assert "\x00" not in html
    assert "\u202e" not in html
    html.encode("utf-8")  # no lone surrogates
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "␛[31m" in html
    assert "{braces}" in html


def test_both_languages_have_the_same_words_with_the_same_fields() -> None:
    def fields(template: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(template) if name}

    assert set(page.TEXT["en"]) == set(page.TEXT["zh"])
    for key, template in page.TEXT["en"].items():
        assert fields(template) == fields(page.TEXT["zh"][key]), key
        assert not set("<>&") & set(template + page.TEXT["zh"][key]), key


def test_chinese_is_complete_and_first_when_asked_for() -> None:
    html = render(hotel(), lang="zh")
    reader = read(html, language="zh")
    assert reader.elements[0] == ("html", {"lang": "zh-Hans"})
    checked = [attributes["id"] for tag, attributes in reader.elements if tag == "input" and "checked" in attributes]
    assert checked == ["lang-zh"]
    assert "所有需求均已达到" in reader.text
    assert "Every need" not in reader.text
    assert "房间很小，隔音也差" in reader.text


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(ValueError, match="en, zh"):
        render({}, lang="fr")


def places(item: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a record; of a list only its first entry."""
    if path:
        yield path
    inner = item.items() if isinstance(item, dict) else list(enumerate(item))[:1] if isinstance(item, list) else []
    for name, part in inner:
        yield from places(part, (*path, name))


def test_any_part_may_be_missing_or_odd() -> None:
    whole = sentiment_missed()
    whole["candidates"] = whole["candidates"][3:5]
    seen = list(places(whole))
    assert len(seen) > 150
    odd = [None, [], {}, "odd", -1, float("nan"), float("inf"), [None, 3, "x", []], {"x": {"y": [1]}}, 10**400, True]
    for i, path in enumerate(seen):
        report, missing = copy.deepcopy(whole), copy.deepcopy(whole)
        inner, other = report, missing
        for step in path[:-1]:
            inner, other = inner[step], other[step]
        inner[path[-1]] = odd[i % len(odd)]
        del other[path[-1]]
        read(render(report))
        render(missing)


def test_numbers_of_numpy_are_numbers() -> None:
    report = {"needs": [need("size <= 40 MB", "size", "<=", np.int64(40), "met", np.float32(24.5), 24.5, 24.5)]}
    text = read(render(report)).text
    assert "15.5\u00a0MB to spare" in text


def test_sections_are_left_out_when_there_is_nothing_to_show() -> None:
    ids = [
        attributes.get("id")
        for tag, attributes in read(render({"command": "sartor build x.csv"})).elements
        if tag == "section"
    ]
    assert ids == ["again"]


def test_a_teacher_in_a_plan_is_shown_inside_its_step() -> None:
    report = support()
    teacher = {
        "backbone": "bert-large",
        "steps": [{"step": "train", "arguments": {"epochs": 3}, "reason": "It is larger."}],
    }
    steps = report["candidates"][4]["plan"]["steps"]
    steps.append({"step": "distil", "arguments": {"teacher": teacher, "temperature": 2.0}, "reason": "To be smaller."})
    text = read(render(report)).text
    assert "bert-large" in text
    assert "It is larger." in text
    assert "temperature = 2" in text


def test_what_was_expected_is_told_with_its_unit() -> None:
    ends = {"low": 0.4421, "mid": 0.713, "high": 1.15}
    values = {
        "accuracy": ends,
        "latency_p95 at concurrency 1": ends,
        "latency_p95 at concurrency 8": ends,
        "size": ends,
    }
    told = page._expected({"outlook": {"values": values}})
    assert told == (
        "accuracy 0.713 (0.442 – 1.15) · latency_p95 0.713 ms (0.442 – 1.15) · "
        "latency_p95 at concurrency 8 0.713 ms (0.442 – 1.15) · size 0.713 MB (0.442 – 1.15)"
    )


def test_units_are_those_of_the_measures() -> None:
    from sartor.needs import SYSTEM

    assert {name: f" {unit}" for name, (unit, *_) in SYSTEM.items()} == page.EXPECTED_UNITS


def test_a_latency_stands_beside_the_limit_of_its_own_concurrency() -> None:
    report = support()
    crowd = "latency_p95 at concurrency 8"
    asked = need(f"{crowd} <= 20 ms", "latency_p95", "<=", 20.0, "missed", 37.0, 36.0, 38.0) | {"name": crowd}
    report["needs"] = [report["needs"][0], asked]
    for one in report["candidates"]:
        if one["status"] == "measured":
            key = {"setting": [["concurrency", 8.0]]}
            one["values"].append(value("latency_p95", 36.9, 36.0, 38.0, 2000, "ms", name=crowd, key=key))
    assert "36.9\u00a0ms" in read(render(report)).text


def test_the_curve_is_of_what_training_followed_the_right_way_up() -> None:
    report = support()
    chosen = next(one for one in report["candidates"] if one["curve"])
    for point in chosen["curve"]:
        point["valid"] = -4.0 - 1 / point["epoch"]
    report["primary"] = {"measure": "mae", "better": "lower"}
    report["needs"][0] = need("r2 >= 0.5", "r2", ">=", 0.5, "met", 0.6, 0.55, 0.65)
    drawn = render(report)
    told = read(drawn).text
    assert "Mean absolute error on validation rows" in told
    assert "\u22125" not in told
    assert ">-5<" not in drawn


def test_mistakes_without_a_probability_are_those_furthest_off() -> None:
    report = support()
    told = read(render(report)).text
    assert "greatest confidence" in told
    for figures in report["figures"].values():
        for mistake in figures.get("mistakes", []) if isinstance(figures, dict) else []:
            mistake.pop("probability")
    if "mistakes" in report["figures"]:
        for mistake in report["figures"]["mistakes"]:
            mistake.pop("probability", None)
    told = read(render(report)).text
    assert "the furthest off" in told
    assert "greatest confidence" not in told


def test_a_need_that_lets_the_model_abstain_is_told_of_what_it_answered() -> None:
    report = support()
    asked = need("accuracy >= 0.9 at coverage >= 0.9", "accuracy", ">=", 0.9, "missed", 0.97, 0.95, 0.99)
    advice = "It answers 81.2% of the rows (78.0% – 84.0%); 90.0% are asked."
    report["needs"] = [asked | {"setting": "coverage ≥ 0.9", "n": 240, "advice": advice}]
    told = read(render(report)).text
    assert "Of the 240 test rows that it answered, it answered 97.0% rightly." in told
    assert "no more than" not in told  # the bound is on the right side: it is the coverage that is missed
    assert "What to do: It answers" in told
    report["needs"][0] |= {"verdict": "met"}
    assert "Note: It answers" in read(render(report)).text


def test_no_confidence_is_rounded_to_certainty() -> None:
    report = support()
    report["needs"][0] |= {"confidence": 0.9999551}
    assert "100% confidence" not in read(render(report)).text
    assert "99.996%" in read(render(report)).text


def test_members_of_a_plan_are_shown_inside_their_step() -> None:
    report = support()
    inner = {"name": "cheap", "steps": [{"step": "start", "arguments": {"backbone": "ngram"}, "reason": "Inside."}]}
    chosen = next(one for one in report["candidates"] if one["id"] == report["chosen"])
    chosen["plan"]["steps"] = [{"step": "fuse", "arguments": {"members": [{"inputs": ["title"], "plan": inner}]}}]
    told = read(render(report)).text
    assert "Inside." in told
    assert '"steps"' not in told
