import { effect } from "@preact/signals";
import { expect, it } from "vitest";
import { createStore } from "../src/store";
import { link } from "./support";

it("loads until the first snapshot, which may be empty", () => {
  const store = createStore();
  expect(store.ids.value).toBeUndefined();
  store.replace([]);
  expect(store.ids.value).toEqual([]);
});

it("keeps the rows in the order of names while they change", () => {
  const store = createStore();
  store.replace([link({ id: 2, link: "Omsk" }), link({ id: 1, link: "Kazan" })]);
  const before = store.ids.value;
  store.update([link({ id: 2, link: "Omsk", state: "offline", waiting_out: 9 })]);
  expect(store.ids.value).toBe(before);
  expect(store.ids.value).toEqual([1, 2]);
});

it("redraws only the link that changed", () => {
  const store = createStore();
  store.replace([link({ id: 1 }), link({ id: 2, link: "Omsk" })]);
  const drawn: number[] = [];
  for (const id of [1, 2]) {
    effect(() => {
      drawn.push(store.link(id)?.value.id ?? 0);
    });
  }
  drawn.length = 0;
  store.update([link({ id: 2, link: "Omsk", sent: 11 })]);
  expect(drawn).toEqual([2]);
});

it("forgets removed links, and those that a new snapshot lacks", () => {
  const store = createStore();
  store.replace([link({ id: 1 }), link({ id: 2, link: "Omsk" }), link({ id: 3, link: "Perm" })]);
  store.update([], [2]);
  expect(store.ids.value).toEqual([1, 3]);
  store.replace([link({ id: 3, link: "Perm" })]);
  expect(store.ids.value).toEqual([3]);
  expect(store.link(1)).toBeUndefined();
});

it("tells of changed states, not of first sights or other changes", () => {
  const told: string[] = [];
  const store = createStore((one) => told.push(one.state));
  store.replace([link()]);
  store.update([link({ sent: 99 })]);
  store.update([link({ state: "offline" })]);
  expect(told).toEqual(["offline"]);
});
