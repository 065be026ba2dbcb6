"""The report page as bytes: whole, small, equal for equal records, and safe whatever stands in them."""

import json
import math
import re
from html.parser import HTMLParser

import page_kit as kit
import pytest
import report_case as case

from prunery.lab import spec as specs
from prunery.lab.plan import plan as plan_of
from prunery.report import page
from prunery.report.page import strict, words

HOSTILE = "</script><b>x</b>\"'&{{7*7}}"


@pytest.fixture(scope="module")
def study():
    return kit.study(published=kit.published())


@pytest.fixture(scope="module")
def content(study):
    return page.html(study)


def data_of(content):
    """The embedded figures of a page: name to charts."""
    return json.loads(re.search(r'id="data">(.*?)</script>', content.decode(), re.S).group(1))


def text_of(content):
    """The page without its scripts, data and style."""
    return re.sub(r"<(script|style)\b.*?</\1>", "", content.decode(), flags=re.S)


class Outline(HTMLParser):
    """The element names, ids and addresses of a page; raises where elements are not closed in order."""

    VOID = ("meta", "link", "br", "hr", "img", "input")

    def __init__(self, content):
        super().__init__()
        self.open, self.ids, self.addresses, self.tags = [], [], [], []
        self.feed(content.decode())
        assert not self.open

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.addresses += [given[name] for name in ("src", "href", "action", "data") if name in given]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_same_records_give_the_same_bytes(content):
    assert page.html(kit.study(published=kit.published())) == content


def test_other_records_give_other_bytes(content):
    assert page.html(kit.study(broken=False)) != content


def test_the_page_is_small_and_asks_for_nothing(content):
    outline = Outline(content)
    assert len(content) < 2_500_000
    assert all(address.startswith(("#", "data:,")) for address in outline.addresses)
    assert "default-src 'none'" in text_of(content)
    assert "unsafe-eval" not in text_of(content)


def test_the_libraries_stand_in_it_once(content):
    assert content.count(b"window.vegaEmbed=") == 1


def test_ids_are_unique_and_what_is_labelled_is_there(content):
    outline = Outline(content)
    assert len(outline.ids) == len(set(outline.ids))
    named = re.findall(r'aria-labelledby="([^"]+)"', content.decode())
    assert len(named) > 8
    assert set(named) <= set(outline.ids)


def test_the_answer_and_the_first_figure_come_before_all_else(content):
    text = text_of(content)
    order = [text.index(mark) for mark in ("<h1>", 'id="answer"', 'id="fig-accuracy"', "<h2", "<table")]
    assert order == sorted(order)
    assert text.index("The spec") > text.index("Cautions")


def test_a_study_of_three_methods_by_three_sparsities_is_short():
    study = kit.study(("random", "magnitude", "snip"), broken=False)
    shown = re.sub(r"<details.*?</details>", "", text_of(page.html(study)), flags=re.S)
    assert len(re.sub(r"<[^>]+>", " ", shown).split()) <= 1800


def test_the_question_is_the_studys_own(study):
    asked = kit.study_of("toy", {**study.spec, "question": "Is it <so>?"}, study.plan, study.store)
    assert "<h1>Is it &lt;so&gt;?</h1>" in page.html(asked).decode()
    assert "What does pruning by 5 methods leave" in words.question(study)


def test_hostile_names_stay_text():
    content = page.html(kit.study(({"criterion": "magnitude", "name": HOSTILE}, "snip"), seeds=2))
    text = text_of(content)
    assert HOSTILE not in text
    assert "<b>x</b>" not in text
    assert "{{7*7}}" in text
    Outline(content)
    assert HOSTILE in json.dumps(data_of(content)).encode().decode("unicode_escape")


def test_the_data_hold_no_nan_and_cannot_end_their_element():
    hard = {"a": [math.nan, math.inf, 1.5], "b": "<!--</script>\u2028&"}
    text = strict.embedded(hard)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": [None, None, 1.5], "b": hard["b"]}


def test_a_study_with_nan_losses_is_strict_json():
    study = kit.study(seeds=2, broken=False)
    for record in study.store.records.values():
        for row in record.tables.get("epochs", []):
            row["train_loss"] = math.nan
    assert "curves" in data_of(page.html(study))


def test_a_study_without_a_record_says_so():
    spec = case.spec(("magnitude", "snip"), seeds=1)
    study = kit.study_of("toy", specs.plain(spec), plan_of(spec), case.Kept())
    content = page.html(study)
    assert "Nothing is done yet that could be compared." in text_of(content)
    assert "no record yet" in text_of(content)
    assert data_of(content) == {}
    assert b"window.vegaEmbed=" not in content


def test_sections_without_anything_are_absent():
    content = page.html(kit.study(bare=True))
    assert set(data_of(content)) == {"accuracy", "training_macs", "epochs", "seconds"}
    for name in ("curves", "published", "retraining"):
        assert f'id="{name}"' not in text_of(content)


def test_few_seeds_get_no_verdict():
    for seeds in (1, 2):
        text = text_of(page.html(kit.study(seeds=seeds, broken=False)))
        assert "without interval or verdict" in text
        assert "±" not in text


def test_broken_cells_enter_no_mean_and_are_named(content):
    text = text_of(content)
    assert "predicts class 1" in text
    assert "GraSP: &lt;no memory&gt;" in text
    assert "collapsed 1/3" in text


def test_top_1_and_top_5_stand_apart(content):
    assert 'id="table-accuracy"' in text_of(content)
    assert 'id="table-test-top5"' in text_of(content)


def test_published_values_have_a_table_for_each_metric(content):
    assert "Beside published values: top-1 accuracy, %" in text_of(content)
    assert "top-1 accuracy of the best epoch on the test split" in text_of(content)


def test_every_cell_stands_in_a_table_with_its_key(study, content):
    keys = [run.key for group in study.groups for run in group.runs]
    found = re.findall(r"<td>([0-9a-f]{16})</td></tr>", text_of(content))
    assert [key for key in found if key in keys][-len(keys) :] == keys


def test_cautions_are_said_once(content):
    lists = re.findall(r'<ul class="(?:answers|caveats)">(.*?)</ul>', text_of(content), flags=re.S)
    said = re.findall(r"<li>(.*?)</li>", "".join(lists))
    assert len(said) == len(set(said))


def test_seconds_of_several_devices_are_not_drawn(study, content):
    mixed = study.frame.assign(device=[f"device {i % 2}" for i in range(len(study.frame))])
    assert "seconds" in data_of(content)
    assert "seconds" not in data_of(page.html(kit.framed(study, mixed)))


def test_accuracy_before_and_after_retraining_has_a_figure_and_a_table(study, content):
    before = study.frame.assign(before_test_top1=study.frame["test_top1"] - 7)
    assert "before_after" not in data_of(content)
    made = page.html(kit.framed(study, before))
    assert 'id="table-retraining"' in text_of(made)
    assert len(data_of(made)["before_after"]) == len(kit.METHODS)
