"""Drives the page in Chromium: every view and gesture, what it saves, what it refuses, and how it looks.

Each check is a function whose name says what holds. All run, and the names of those that fail are printed with why.
"""

import argparse
import contextlib
import http.client
import json
import math
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse

from playwright.sync_api import expect, sync_playwright

SENTENCE = "The FBI is chasing a criminal on the run"
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


class Server:
    """`attend view` on a port of its own."""

    def __init__(self, attend, *arguments, port=None, environment=None):
        self.command = [attend, "view", "--no-open", *arguments]
        if port is not None:
            self.command += ["--port", str(port)]
        self.environment = {**os.environ, **(environment or {})}
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment)
        self.address = self.process.stdout.readline().strip()
        assert self.address, self.process.stderr.read()
        self.port = int(re.search(r":(\d+)/", self.address).group(1))
        self.base = f"http://127.0.0.1:{self.port}/"

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(20)
        return self.process.returncode

    def post(self, path, body, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        if not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        connection.request("POST", path, body, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read(), dict(response.getheaders())

    def error(self, path, body, headers=None):
        status, text, _ = self.post(path, body, headers)
        error = json.loads(text)["error"]
        assert set(error) == {"what", "where", "try"}, error
        return status, error

    def link(self, **state):
        return self.base + "#" + urllib.parse.urlencode({"text": SENTENCE, **state}, quote_via=urllib.parse.quote)


class Bench:
    """The browser, the server, and what each check gets."""

    def __init__(self, browser, server, attend, pictures):
        self.browser, self.server, self.attend, self.pictures = browser, server, attend, pictures

    @contextlib.contextmanager
    def page(self, address=None, allowed_errors=(), **options):
        """A page that fails the check when it logs an error, or asks another host."""
        context = self.browser.new_context(
            viewport=options.pop("viewport", {"width": 1200, "height": 900}), accept_downloads=True,
            permissions=["clipboard-read", "clipboard-write"], **options)
        page = context.new_page()
        page.set_default_timeout(20000)
        problems = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda entry: problems.append(entry.text) if entry.type == "error" else None)
        page.on("request", lambda request: problems.append(f"asked {request.url}")
                if not request.url.startswith(("http://127.0.0.1:", "blob:", "data:", "file:")) else None)
        if address:
            page.goto(address)
        try:
            yield page
        finally:
            context.close()
        problems = [text for text in problems if not any(part in text for part in allowed_errors)]
        assert not problems, problems

    def picture(self, page, name):
        page.screenshot(path=str(self.pictures / f"{name}.png"), full_page=True)

    def run(self, *arguments):
        return subprocess.run(
            [self.attend, *arguments], capture_output=True, check=True, timeout=120).stdout


def settled(page):
    """Waits until the view is there, effect included."""
    expect(page.locator("#stage")).to_have_attribute("aria-busy", "false", timeout=60000)
    expect(page.locator("#picture:not(.is-empty) svg")).to_be_attached(timeout=60000)
    expect(page.locator("#stage")).to_have_attribute("aria-busy", "false", timeout=60000)


def until(page, holds):
    """Waits until the state in the address is as it should be."""
    end = time.monotonic() + 10
    while not holds(state(page)):
        assert time.monotonic() < end, state(page)
        page.wait_for_timeout(20)


def state(page):
    return dict(urllib.parse.parse_qsl(urllib.parse.urlparse(page.url).fragment))


def table(page):
    return page.evaluate("""() => [...document.querySelectorAll('#table tr')].map(
        (row) => [...row.cells].map((cell) => cell.textContent))""")


def saved(page, kind):
    page.click("#export-button")
    with page.expect_download() as download:
        page.click(f"[data-kind={kind}]")
    return pathlib.Path(download.value.path()).read_bytes()


# --- the views

VIEWS = ["word", "grid", "head", "steps", "similarity"]


@check
def every_view_is_drawn_with_its_table_and_its_picture_is_kept(bench):
    for view in VIEWS:
        for scheme in ["light", "dark"]:
            with bench.page(bench.server.link(view=view, target=5), color_scheme=scheme) as page:
                settled(page)
                assert len(table(page)) > 1, view
                assert page.locator("#views [aria-current=page]").get_attribute("data-view") == view
                bench.picture(page, f"{view}-{scheme}")


@check
def a_phone_of_360_pixels_shows_every_view_without_scrolling_sideways(bench):
    for view in VIEWS:
        with bench.page(bench.server.link(view=view), viewport={"width": 360, "height": 740},
                        has_touch=True, is_mobile=True) as page:
            settled(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, view
            bench.picture(page, f"{view}-phone")


# --- gestures

@check
def a_click_pins_a_word_and_hovering_only_previews(bench):
    with bench.page(bench.server.link()) as page:
        settled(page)
        before = page.locator("#picture svg").get_attribute("aria-label")
        page.hover("#strip button >> nth=3")
        expect(page.locator("#picture svg")).not_to_have_attribute("aria-label", before)
        assert "target" not in state(page)
        page.mouse.move(2, 2)
        expect(page.locator("#picture svg")).to_have_attribute("aria-label", before)
        page.click("#strip button >> nth=3")
        settled(page)
        assert state(page)["target"] == "3"
        expect(page.locator("#strip button >> nth=3")).to_have_attribute("aria-checked", "true")
        page.keyboard.press("Escape")
        until(page, lambda state: "target" not in state)
        page.go_back()
        until(page, lambda state: state.get("target") == "3")
        # A word in the picture is pinned as well.
        settled(page)
        page.locator("#picture svg [data-word='1']").first.click()
        until(page, lambda state: state.get("target") == "1")


@check
def the_keyboard_alone_reaches_everything(bench):
    with bench.page(bench.server.link()) as page:
        settled(page)
        press = page.keyboard.press
        for key, name, value in [
            ("ArrowLeft", "target", "7"), ("ArrowLeft", "target", "6"), ("ArrowRight", "target", "7"),
            ("]", "layer", "0"), ("]", "layer", "1"), (".", "head", "0"), (".", "head", "1"), (",", "head", "0"),
            ("[", "layer", "0"), ("m", "layer", None), ("2", "view", "grid"), ("1", "view", None)]:
            press(key)
            settled(page)
            assert state(page).get(name) == value, (key, name, state(page))
        press("/")
        expect(page.locator("#help")).to_be_visible()
        press("Escape")
        expect(page.locator("#help")).to_be_hidden()
        page.focus("#export-button")
        press("Enter")
        expect(page.locator("#export-menu [role=menuitem] >> nth=0")).to_be_focused()
        press("ArrowDown")
        expect(page.locator("#export-menu [role=menuitem] >> nth=1")).to_be_focused()
        press("Escape")
        expect(page.locator("#export-button")).to_be_focused()
        # Tab goes through all there is, in the order of the page, and shows where it is.
        page.focus("a.skip")
        order = []
        for _ in range(40):
            press("Tab")
            place = page.evaluate("""() => { const e = document.activeElement;
                return e === document.body ? null : [e.id || e.textContent.trim().slice(0, 20),
                    e.getBoundingClientRect().top + scrollY, getComputedStyle(e).outlineStyle]; }""")
            if place is None or (order and place[0] == order[0][0]):
                break
            order.append(place)
        names = [name for name, _, _ in order]
        assert names.index("sentence") < names.index("layer") < names.index("copy") < names.index("export-button"), names
        assert all(style != "none" for _, _, style in order), order


@check
def every_choice_is_in_the_address_and_comes_back_from_it(bench):
    with bench.page(bench.server.link()) as page:
        settled(page)
        for name, value in [("unit", "tokens"), ("scale", "row"), ("order", "attention"), ("style", "stripes")]:
            page.select_option(f"#{name}", value)
            settled(page)
            assert state(page)[name] == value
        page.locator("#mass").fill("0.7")
        settled(page)
        assert state(page)["mass"] == "0.7"
        shown = table(page)
        with bench.page(page.url) as other:
            settled(other)
            assert table(other) == shown


@check
def the_theme_follows_the_system_and_the_switch(bench):
    with bench.page(bench.server.link(), color_scheme="dark") as page:
        settled(page)
        ground = "getComputedStyle(document.body).backgroundColor"
        dark = page.evaluate(ground)
        page.click("#theme")
        light = page.evaluate(ground)
        assert light != dark
        page.click("#theme")
        assert page.evaluate(ground) == dark and state(page)["theme"] == "dark"


@check
def ones_own_weights_are_drawn_or_refused_with_what_is_wanted(bench):
    with bench.page(bench.server.link(view="similarity")) as page:
        settled(page)

        def give(text):
            page.fill("#own", text)
            page.locator(".upload button", has_text="Draw").click()
            return page.locator(".upload .message"), page.locator(".upload table")

        for text, part in [("", "nothing to read"), ("{", "not JSON"), ("[[1, 0], [1]]", "same length"), ("2, 3", "from 0 to 1"),
                           ("[1, null]", "no number"), ("[[1, 0, 0]]", "T × T"), ("[" * 5000, "not JSON"),
                           ('{"words": ["a"], "weights": [0.5, 0.5]}', "1 words for 2"), ("<img src=x>", "no numbers")]:
            problem, _ = give(text)
            expect(problem).to_contain_text(part)
        problem, cells = give('{"words": ["Hello", "world"], "weights": [0.9, 0.1]}')
        expect(problem).to_be_hidden()
        assert cells.locator("tr").nth(1).all_inner_texts() == ["weight\t90.0\t10.0"], cells.all_inner_texts()
        give("a,b\n0.75,0.25\n0.5,0.5")
        expect(page.locator(".upload canvas")).to_be_visible()
        give("[[[[1, 0], [0, 1]], [[0.5, 0.5], [0.25, 0.75]]]]")
        page.select_option("[aria-label='Head of your weights']", "1")
        page.locator(".upload summary").click()
        assert "25.0" in cells.inner_text()
        header = json.dumps({"weights": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
        file = len(header).to_bytes(8, "little") + header + struct.pack("<4f", 0.125, 0.875, 1, 0)
        page.set_input_files(".upload input", {"name": "own.safetensors", "mimeType": "", "buffer": file})
        page.locator(".upload summary").click()
        expect(cells).to_contain_text("12.5")
        page.set_input_files(".upload input", {"name": "own.safetensors", "mimeType": "", "buffer": file[:-1]})
        expect(problem).to_contain_text("damaged")


@check
def a_long_sentence_is_drawn_on_canvas_and_its_memory_is_said_first(bench):
    text = " ".join(f"word{index % 7}" for index in range(60))
    with bench.page(bench.server.link(text=text, view="head", unit="tokens", layer=0, head=0)) as page:
        settled(page)
        expect(page.locator(".matrix canvas")).to_be_visible()
        zoom = int(page.locator(".matrix").get_attribute("data-zoom"))
        page.click("[aria-label='Zoom in']")
        assert int(page.locator(".matrix").get_attribute("data-zoom")) == 2 * zoom
        # A pixel is the weight: the first token looks at nothing but itself.
        page.locator(".matrix canvas").hover(position={"x": 1, "y": 1})
        expect(page.locator("#readout")).to_contain_text("100.0 %")
        bench.picture(page, "head-long")


# --- page = command = files

@check
def what_is_saved_is_what_the_command_writes_byte_for_byte(bench):
    with tempfile.TemporaryDirectory() as folder:
        for view in VIEWS:
            with bench.page(bench.server.link(view=view, target=3)) as page:
                settled(page)
                page.click("#copy")
                copied = page.evaluate("navigator.clipboard.readText()")
                for kind in ["svg", "json", "csv", "html"]:
                    file = f"{folder}/{view}.{kind}"
                    line = copied.replace("attend", f"'{bench.attend}'", 1) + f" --format {kind} -o {file}"
                    subprocess.run(line, shell=True, check=True, timeout=120)
                    expected = pathlib.Path(file).read_bytes()
                    actual = saved(page, kind)
                    assert actual == expected, (view, kind, line, len(actual), len(expected))
                    if kind == "html":
                        assert len(actual) < 3 << 20, (view, len(actual))


@check
def the_table_is_the_one_the_command_prints(bench):
    with bench.page(bench.server.link(target=3)) as page:
        settled(page)
        lines = saved(page, "csv").decode().split("\r\n")[:-1]
        assert [",".join(row) for row in table(page)] == lines
        whole = json.loads(saved(page, "json"))
        for row, word in zip(table(page)[1:], whole["words"]):
            assert row[1] == word["text"]
            assert abs(float(row[2]) - 100 * word["attention"]) <= 0.05 + 1e-9, (row, word)


@check
def a_saved_page_works_with_the_network_off(bench):
    with tempfile.TemporaryDirectory() as folder:
        with bench.page(bench.server.link()) as page:
            settled(page)
            file = pathlib.Path(folder) / "saved.html"
            file.write_bytes(saved(page, "html"))
            raster = saved(page, "png")
            assert raster[:8] == b"\x89PNG\r\n\x1a\n" and len(raster) > 10000
            (bench.pictures / "export.png").write_bytes(raster)
        with bench.page(None, offline=True) as page:
            page.goto(file.as_uri())
            assert page.locator("svg text").count() > 10
            page.locator("summary").click()
            assert page.locator("table tr").count() == 10
            bench.picture(page, "export-html")


@check
def every_result_of_the_steps_follows_from_the_operands_that_are_shown(bench):
    """Goes through all components by the page's own control, and recomputes what it shows from what it shows."""
    cells = {}
    with bench.page(bench.server.link(view="steps", target=5, layer=11, head=4)) as page:
        for component in range(0, 64, 16):
            page.fill("#component", str(component))
            page.keyboard.press("Tab")
            settled(page)
            shown = table(page)
            # The picture shows the numbers of the table, no others.
            drawn = page.locator("#picture svg text[data-value]").evaluate_all(
                "(all) => all.map((text) => text.lastChild.data)")
            assert sorted(drawn) == sorted(row[3] for row in shown[1:] if row[3] != "−∞"), component
            # What is printed is rounded; a mark carries the number itself.
            for title, number, text in page.locator("#picture svg text[data-value]").evaluate_all(
                    "(all) => all.map((t) => [t.querySelector('title').textContent, t.dataset.value, t.lastChild.data])"):
                name = title.removesuffix(f": {text}")
                assert f"{float(number):.4f}".replace("-0.0000", "0.0000") == text, (title, number)
                cells[tuple(name.split(", "))] = float(number)
            part = [row for row in shown[1:] if row[0] == "q×k" and row[2].isdigit()]
            for token in {row[1] for row in part}:
                close(sum(cells["q×k", token, row[2]] for row in part if row[1] == token),
                      cells["q×k", token, "Σ shown"])
                close(cells["q×k", token, "Σ shown"] + cells["q×k", token, "Σ others"], cells["q×k", token, "q·k"])
    tokens = sorted({name[1] for name in cells if name[0] == "k"}, key=lambda token: int(token.split()[0]))
    assert len(tokens) == 6, tokens
    dimension = range(64)
    for before, after, names in [("q before", "q rotated", ["q"]), *[(token, token, ["k before rotation", "k"]) for token in tokens]]:
        for component in range(0, 64, 2):
            # A rotation leaves the length of each pair; this file has the two of a pair side by side.
            first, last = (names[0], names[-1])
            close(cells[first, before, f"{component}"] ** 2 + cells[first, before, f"{component + 1}"] ** 2,
                  cells[last, after, f"{component}"] ** 2 + cells[last, after, f"{component + 1}"] ** 2)
    query = [cells["q", "q rotated", f"{c}"] for c in dimension]
    largest = max(cells["× scale", token] for token in tokens)
    total = sum(cells["e^…", token] for token in tokens)
    close(total, cells["e^…", "Σ"])
    for token in tokens:
        for c in dimension:
            close(query[c] * cells["k", token, f"{c}"], cells["q×k", token, f"{c}"])
            close(cells["softmax α", token] * cells["v", token, f"{c}"], cells["α·v", token, f"{c}"])
        close(sum(q * cells["k", token, f"{c}"] for c, q in enumerate(query)), cells["q·k", token])
        close(cells["q×k", token, "q·k"], cells["q·k", token])
        close(cells["q·k", token] / 8, cells["× scale", token])
        close(cells["× scale", token], cells["masked", token])
        close(math.exp(cells["masked", token] - largest), cells["e^…", token])
        close(cells["e^…", token] / total, cells["softmax α", token])
    for c in dimension:
        close(sum(cells["α·v", token, f"{c}"] for token in tokens), cells["α·v", "Σ output", f"{c}"])
        close(cells["α·v", "Σ output", f"{c}"], cells["W_O", "output", f"{c}"])
        close(cells["W_O", "output", f"{c}"] * cells["W_O", "W_O", f"{c}"], cells["W_O", "product", f"{c}"])
    component = next(name[2] for name in cells if name[0] == "W_O" and name[2].startswith("component"))
    close(sum(cells["W_O", "product", f"{c}"] for c in dimension), cells["W_O", "product", component])


def close(found, expected):
    assert abs(found - expected) <= 1e-4, (found, expected)


# --- access

CONTRAST = """() => {
  const luminance = ([r, g, b]) => [r, g, b].map((c) => { c /= 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; })
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d');
  const colour = (text) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const ground = (element) => { for (let e = element; e; e = e.parentElement) {
    const c = colour(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c; } return [255, 255, 255, 255]; };
  const poor = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !element.checkVisibility() || element.matches(':disabled, .visually-hidden, option')) continue;
    const [a, b] = [luminance(colour(getComputedStyle(element).color)), luminance(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push([element.tagName, element.textContent.trim().slice(0, 30), ratio.toFixed(2)]);
  }
  const shadow = document.getElementById('picture').shadowRoot;
  const back = shadow && colour(getComputedStyle(shadow.querySelector('svg > rect.ground')).fill);
  for (const element of shadow?.querySelectorAll('text') ?? []) {
    const [a, b] = [luminance(colour(getComputedStyle(element).fill)), luminance(back)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const style = getComputedStyle(element);
    if (ratio < 4.5 && style.fillOpacity === '1' && !element.hasAttribute('data-on')) {
      poor.push(['text', element.textContent.slice(0, 30), ratio.toFixed(2)]);
    }
  }
  return poor;
}"""


@check
def text_has_a_contrast_of_4_5_and_everything_a_name(bench):
    for scheme in ["light", "dark"]:
        for view in VIEWS:
            with bench.page(bench.server.link(view=view), color_scheme=scheme) as page:
                settled(page)
                page.locator("#twin summary").click()
                poor = page.evaluate(CONTRAST)
                assert not poor, (scheme, view, poor[:5])
                nameless = page.evaluate("""() => [...document.querySelectorAll(
                    'button, a, select, input, textarea, canvas, [role=region], dialog, svg, img')].filter((e) => {
                      if (!e.checkVisibility() || e.closest('[aria-hidden=true]')) return false;
                      const labels = (e.labels ? [...e.labels] : []).map((l) => l.textContent).join('');
                      const by = (e.getAttribute('aria-labelledby') ?? '').split(' ')
                        .map((id) => document.getElementById(id)?.textContent ?? '').join('');
                      return !(e.getAttribute('aria-label') || labels.trim() || by.trim() || e.textContent.trim()
                        || e.hasAttribute('alt')); }).map((e) => e.outerHTML.slice(0, 80))""")
                assert not nameless, nameless
                twice = page.evaluate("""() => { const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
                    return ids.filter((id, index) => ids.indexOf(id) !== index); }""")
                assert not twice, twice
                small = page.evaluate("""() => [...document.querySelectorAll('button, select')].filter((e) =>
                    e.checkVisibility() && Math.min(e.offsetWidth, e.offsetHeight) < 24).map((e) => e.outerHTML)""")
                assert not small, small


@check
def reduced_motion_moves_nothing(bench):
    with bench.page(bench.server.link(), reduced_motion="reduce") as page:
        settled(page)
        moving = page.evaluate("""() => [...document.querySelectorAll('*')].filter((e) => {
            const s = getComputedStyle(e); return s.animationName !== 'none'
              || s.transitionDuration.split(',').some((d) => parseFloat(d) > 0); }).map((e) => e.tagName)""")
        assert not moving, moving


@check
def scripts_of_the_world_are_shown_as_they_are(bench):
    for name, text in [("arabic", "الرجل يقرأ كتابا في البيت"), ("cjk", "猫が魚を食べました"),
                       ("emoji", "I ❤️ my 👩‍👩‍👧 and 🐈")]:
        with bench.page(bench.server.link(text=text)) as page:
            settled(page)
            words = page.locator("#strip button").all_text_contents()
            assert "�" not in "".join(words), words
            bench.picture(page, name)


# --- hostile input

@check
def script_in_the_text_is_text(bench):
    text = '<script>window.hacked=1</script><img src=x onerror="window.hacked=1"> "quoted" & done'
    for view in ["word", "head"]:
        with bench.page(bench.server.link(text=text, view=view)) as page:
            settled(page)
            assert page.evaluate("window.hacked") is None
            assert "<script>" in page.locator("#sentence").input_value()
            html = saved(page, "html").decode()
            assert "<script>window.hacked" not in html


@check
def nothing_to_look_at_and_too_much_of_it_are_said(bench):
    allowed = ["422"]
    with bench.page(bench.server.base, allowed) as page:
        expect(page.locator("#message")).to_contain_text("Write a sentence")
        bench.picture(page, "empty")
        page.fill("#sentence", "word " * 9000)
        page.click("text=Look")
        expect(page.locator("#message")).to_contain_text("but the model sees at most")
        expect(page.locator("#message")).to_contain_text("8192")
        bench.picture(page, "too-long")
        page.fill("#sentence", "")
        page.click("text=Look")
        expect(page.locator("#message")).to_contain_text("The sentence is empty")
        page.click("text=The FBI is chasing")
        settled(page)


@check
def a_model_that_cannot_be_had_says_why_and_what_to_do(bench):
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        file.write(b"GGUF" + b"\xff" * 100)
        file.flush()
        with bench.page(bench.server.link(model=file.name), ["422"]) as page:
            expect(page.locator("#message.is-error")).to_contain_text(file.name)
            bench.picture(page, "model-fails")
    status, error = bench.server.error("/api/view", {"state": {"text": "a b", "model": "no-such-model"}})
    assert status == 422 and error["where"] == "model" and "Scripts/fetch-model" in error["what"], error


@check
def malformed_requests_are_refused_with_what_where_and_what_to_try(bench):
    for body, status in [("{", 400), ("[]", 400), ('{"state": 3}', 400), ('{"state": {"text": 3}}', 400),
                         (b"\xff\xfe", 400), ("", 400), ("[" * 100000, 400),
                         ({"state": {"text": "a b", "view": "moon"}}, 400),
                         ({"state": {"text": "a b", "colour": "red"}}, 400),
                         ({"state": {"text": "a b", "layer": "x"}}, 400),
                         ({"state": {"text": "a b", "width": "9999999999999999999999"}}, 400),
                         ({"state": {"text": "a b", "layer": "99"}}, 422),
                         ({"state": {"text": "a b", "target": "99"}}, 422),
                         ({"state": {"text": ""}}, 422)]:
        found, error = bench.server.error("/api/view", body)
        assert found == status, (body, found, error)
    assert bench.server.error("/api/view", "{}", {"Content-Type": "text/plain"})[0] == 415
    assert bench.server.error("/api/view", "{}", {"Host": "evil.example"})[0] == 421
    assert bench.server.error("/api/view", "{}", {"Origin": "http://evil.example"})[0] == 403
    connection = http.client.HTTPConnection("127.0.0.1", bench.server.port)
    for path in ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/nothing"]:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        assert response.status in (400, 404) and b"root:" not in body, path
    connection.request("GET", "/")
    response = connection.getresponse()
    response.read()
    policy = response.getheader("Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert response.getheader("Access-Control-Allow-Origin") is None


@check
def a_body_of_100_mb_is_refused_early(bench):
    link = socket.create_connection(("127.0.0.1", bench.server.port), timeout=20)
    link.sendall(f"POST /api/view HTTP/1.1\r\nHost: 127.0.0.1:{bench.server.port}\r\nContent-Type: application/json\r\n"
                 f"Content-Length: {100 << 20}\r\n\r\n".encode() + b"x" * 65536)
    answer = link.recv(65536)
    assert b" 413 " in answer.split(b"\r\n")[0], answer[:200]
    link.close()
    # Without a length, in pieces, it is refused once it is too long.
    link = socket.create_connection(("127.0.0.1", bench.server.port), timeout=20)
    link.sendall(f"POST /api/view HTTP/1.1\r\nHost: 127.0.0.1:{bench.server.port}\r\nContent-Type: application/json\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n".encode())
    link.settimeout(0.01)
    answer = b""
    piece = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    try:
        for _ in range(100):
            link.settimeout(10)
            link.sendall(piece)
            link.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                answer += link.recv(65536)
            if answer:
                break
    except OSError:
        pass
    assert b" 413 " in answer.split(b"\r\n")[0], answer[:200]
    assert resident(bench.server.process.pid) < 4 << 30


def resident(process):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{process}/status").read_text()).group(1)) << 10


@check
def a_thousand_quick_requests_are_answered_or_refused_and_the_page_lives(bench):
    statuses = []
    lock = threading.Lock()

    def some():
        for index in range(4):
            status, body, headers = bench.server.post(
                "/api/view", {"state": {"text": SENTENCE, "target": str(index % 9), "effect": "never"}})
            if status == 503:
                assert headers["Retry-After"] and json.loads(body)["error"]["try"], headers
            with lock:
                statuses.append(status)

    threads = [threading.Thread(target=some) for _ in range(250)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == 1000 and set(statuses) <= {200, 503} and statuses.count(200) >= 64, \
        {status: statuses.count(status) for status in set(statuses)}
    with bench.page(bench.server.link()) as page:
        settled(page)


@check
def a_full_queue_refuses_at_once_and_closed_connections_free_it(bench):
    long = {"state": {"text": "word " * 600, "effect": "always"}}
    links = []
    for _ in range(80):
        link = socket.create_connection(("127.0.0.1", bench.server.port), timeout=20)
        body = json.dumps(long)
        link.sendall(f"POST /api/view HTTP/1.1\r\nHost: 127.0.0.1:{bench.server.port}\r\n"
                     f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        links.append(link)
    refused = False
    for _ in range(50):
        time.sleep(0.05)
        status, _, headers = bench.server.post("/api/view", {"state": {"text": SENTENCE, "effect": "never"}}) \
            if not refused else (503, None, {"Retry-After": "1"})
        if status == 503:
            assert int(headers["Retry-After"]) > 0
            refused = True
            break
        if status == 200:
            break
    assert refused
    for link in links:
        link.close()
    start = time.monotonic()
    while True:
        status, _, _ = bench.server.post("/api/view", {"state": {"text": SENTENCE, "effect": "never"}})
        if status == 200:
            break
        time.sleep(0.1)
        assert time.monotonic() - start < 15, "Work that nobody waits for goes on."


@check
def two_tabs_look_at_two_models(bench):
    model = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) \
        / "swift-attention/models/SmolLM2-135M-Instruct.Q4_1.gguf"
    with tempfile.TemporaryDirectory() as folder:
        other = pathlib.Path(folder) / "another.gguf"
        other.symlink_to(model)
        with bench.page(bench.server.link()) as first, bench.page(bench.server.link(model=str(other))) as second:
            settled(first)
            settled(second)
            expect(second.locator("#model-line")).to_contain_text("another")
            expect(first.locator("#model-line")).to_contain_text("SmolLM2")
            second.keyboard.press("ArrowLeft")
            settled(second)
            first.keyboard.press("ArrowLeft")
            settled(first)
            expect(second.locator("#model-line")).to_contain_text("another")


@check
def a_server_that_ends_is_said_and_the_page_goes_on_once_it_is_back(bench):
    server = Server(bench.attend, port=free_port())
    try:
        with bench.page(server.link(), ["ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE"]) as page:
            settled(page)
            server.process.kill()
            server.process.wait()
            expect(page.locator("#connection")).to_be_visible()
            expect(page.locator("#connection")).to_contain_text("does not answer")
            bench.picture(page, "server-gone")
            server.start()
            expect(page.locator("#connection")).to_be_hidden()
            page.keyboard.press("ArrowLeft")
            settled(page)
            assert state(page)["target"] == "7"
    finally:
        server.stop()


# --- the command

def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@check
def the_command_begins_where_it_is_told_and_ends_in_good_order(bench):
    server = Server(bench.attend, "A <b> & +1", "--target", "&")
    with bench.page(server.address) as page:
        settled(page)
        assert page.locator("#sentence").input_value() == "A <b> & +1"
        expect(page.locator("#strip [aria-checked=true]")).to_have_text("&")
    # The default port is taken now: another is chosen; one that is named is not.
    other = Server(bench.attend)
    assert other.port != server.port
    taken = subprocess.run([bench.attend, "view", "--no-open", "--port", str(server.port)], capture_output=True, text=True)
    assert taken.returncode == 1 and "--port" in taken.stderr, taken
    ends = [server.stop(signal.SIGINT), other.stop(signal.SIGTERM)]
    assert ends == [130, 143], ends
    folder = tempfile.mkdtemp()
    shutil.copy(bench.attend, f"{folder}/attend")
    alone = subprocess.run([f"{folder}/attend", "view", "--no-open"], capture_output=True, text=True)
    assert alone.returncode == 1 and "ATTENTION_RESOURCES" in alone.stderr and folder in alone.stderr, alone


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attend", default=".build/release/attend")
    parser.add_argument("--pictures", default=".build/page")
    parser.add_argument("--only", default="", help="checks whose name has this in it")
    options = parser.parse_args()
    pictures = pathlib.Path(options.pictures)
    pictures.mkdir(parents=True, exist_ok=True)
    attend = str(pathlib.Path(options.attend).absolute())
    failed = 0
    server = Server(attend, port=0)
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path="/usr/bin/chromium", args=["--no-sandbox"] if os.geteuid() == 0 else [])
            bench = Bench(browser, server, attend, pictures)
            for function in CHECKS:
                if options.only not in function.__name__:
                    continue
                start = time.monotonic()
                try:
                    function(bench)
                    outcome = "holds"
                except Exception:
                    failed += 1
                    outcome = "FAILS"
                    traceback.print_exc()
                print(f"{time.monotonic() - start:6.1f} s  {outcome}  {function.__name__.replace('_', ' ')}", flush=True)
            browser.close()
    finally:
        server.stop()
    sys.exit(1 if failed else 0)


main()
