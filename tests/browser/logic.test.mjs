// The page's decisions that need no browser; run by tests/browser/test_logic.py.
import assert from "node:assert/strict";
import test from "node:test";

const { RouteChoice, reconciled, started, pushed, undone, redone, bySize, candidateName, fitted, zoomed, toPhoto, toStage, inTurns, within } =
  await import(process.env.PAGE_CODE);

function measured(server, page) {
  let now = 0;
  const routes = new RouteChoice(() => now);
  for (let i = 0; i < 5; i++) {
    routes.took("page", page);
    routes.took("server", server);
  }
  routes.settle(2);
  return { routes, wait: (ms) => (now += ms) };
}

test("the faster way is taken", () => {
  assert.equal(measured(10, 30).routes.choose(true), "server");
  assert.equal(measured(300, 30).routes.choose(true), "page");
});

test("a way that is hardly faster is not worth a change", () => {
  assert.equal(measured(30, 28).routes.choose(true), "server");
});

test("without its own decoder the page asks the server", () => {
  assert.equal(measured(300, 30).routes.choose(false), "server");
});

test("a busy server is gone around for as long as it asks", () => {
  const { routes, wait } = measured(10, 30);
  routes.busy(5000);
  assert.equal(routes.choose(true), "page");
  wait(5001);
  assert.equal(routes.choose(true), "server");
});

test("a server that has become slow is left, and tried again later", () => {
  const { routes, wait } = measured(10, 30);
  for (let i = 0; i < 9; i++) routes.took("server", 200);
  assert.equal(routes.choose(true), "page");
  wait(20_001);
  assert.equal(routes.choose(true), "server", "one decode, to see");
  assert.equal(routes.choose(true), "page");
  for (let i = 0; i < 9; i++) routes.took("server", 5);
  assert.equal(routes.choose(true), "server");
});

const item = (id, label) => ({
  id,
  label,
  done: false,
  region: { left: 0, start: Int32Array.of(0, 1), rows: Int32Array.of(0, 1) },
});
const copyOf = (its) => ({ ...its, id: `${its.id}'` });
const named = (items) => items.map(({ id, label }) => `${id}:${label}`);

test("two pages: what either made is there", () => {
  const a = item("a", "cup");
  const found = reconciled([a], [a, item("b", "mine")], [item("a", "cup"), item("c", "theirs")], copyOf);
  assert.deepEqual(named(found), ["a:cup", "c:theirs", "b:mine"]);
});

test("two pages: of an object that both changed, both versions are there", () => {
  const found = reconciled([item("a", "cup")], [item("a", "mug")], [item("a", "bowl")], copyOf);
  assert.deepEqual(named(found), ["a:bowl", "a':mug"]);
});

test("two pages: what I removed stays removed, unless they changed it", () => {
  const base = [item("a", "cup"), item("b", "cup")];
  const found = reconciled(base, [], [item("a", "cup"), item("b", "mug")], copyOf);
  assert.deepEqual(named(found), ["b:mug"]);
});

test("two pages: what they removed stays removed, unless I changed it", () => {
  const [a, b] = [item("a", "cup"), item("b", "cup")];
  assert.deepEqual(named(reconciled([a, b], [a, item("b", "mug")], [], copyOf)), ["b:mug"]);
});

test("two pages: the same change by both is one", () => {
  const found = reconciled([item("a", "cup")], [item("a", "mug")], [item("a", "mug")], copyOf);
  assert.deepEqual(named(found), ["a:mug"]);
});

test("undo and redo have no end, and a new step forgets what was undone", () => {
  let history = started(0);
  for (let step = 1; step <= 5000; step++) history = pushed(history, step);
  for (let step = 0; step < 5000; step++) history = undone(history);
  assert.equal(history.present, 0);
  assert.equal(undone(history), history);
  history = redone(redone(history));
  assert.equal(history.present, 2);
  assert.equal(redone(pushed(history, -1)).present, -1);
});

test("candidates are named by their size, the single answer comes first", () => {
  const of = (output, size) => ({
    output,
    score: 0.5,
    region: { left: 0, start: Int32Array.of(0, 1), rows: Int32Array.of(0, size) },
  });
  const sorted = bySize([of(1, 3), of(2, 30), of(3, 10), of(0, 1)]);
  assert.deepEqual(sorted.map(({ output }) => output), [0, 2, 3, 1]);
  assert.deepEqual(sorted.map((_, index) => candidateName(sorted, index)), ["answer", "whole", "part", "detail"]);
  const three = sorted.slice(1);
  assert.deepEqual(three.map((_, index) => candidateName(three, index)), ["whole", "part", "detail"]);
});

test("what is under the pointer stays there while zooming", () => {
  const [photo, stage] = [{ width: 4000, height: 3000 }, { width: 1000, height: 700 }];
  const at = { x: 400, y: 300 };
  let view = fitted(photo, stage);
  const before = toPhoto(view, at);
  for (const factor of [1.3, 1.3, 2, 0.7]) view = zoomed(view, at, factor, photo, stage);
  const after = toStage(view, before);
  assert.ok(Math.hypot(after.x - at.x, after.y - at.y) < 1e-6);
});

test("long work lets others in, and its results stay in order", async () => {
  let others = 0;
  const timer = setInterval(() => others++, 0);
  const found = await inTurns([...Array(12).keys()], (number) => {
    const end = performance.now() + 6;
    while (performance.now() < end);
    return number * number;
  });
  clearInterval(timer);
  assert.deepEqual(found, [...Array(12).keys()].map((number) => number * number));
  assert.ok(others >= 3, `others came in ${others} times`);
});

test("of undo the steps next to the present are kept, as far as they fit", () => {
  const item = (bytes) => ({ region: { start: new Int32Array(1), rows: new Int32Array(bytes / 4 - 1) }, candidates: [] });
  const shared = item(400);
  const docs = Array.from({ length: 5 }, () => ({ items: [shared, item(100)], active: null }));
  const history = { past: docs.slice(0, 3), present: docs[3], future: docs.slice(4) };
  assert.deepEqual(within(history, 50, 10_000), history);
  assert.deepEqual(within(history, 2, 10_000).past, docs.slice(1, 3));
  const few = within(history, 50, 700);
  assert.deepEqual(few.past, docs.slice(1, 3));
  assert.deepEqual(few.future, []);
  assert.equal(within(history, 50, 499), null);
});
