// Verifies an evidence bundle of tollbook with Node's own modules: node verify-bundle.mjs FILE VKEY
// docs/evidence.md describes each step. Exit: 0 intact, 3 broken (says where), 2 not a bundle.
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";

const sha = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();
const leafHash = (bytes) => sha(Buffer.of(0), bytes);
const nodeHash = (left, right) => sha(Buffer.of(1), left, right);
const stop = (code, words) => { console.error(words); process.exit(code); };
const need = (truth, where, words) => { if (!truth) stop(3, `broken: ${where}: ${words}`); };
process.on("uncaughtException", (fault) => stop(3, `broken: ${fault.message}`));
const hex = (texts) => texts.map((text) => Buffer.from(text, "hex"));

function includes(leaf, index, size, proof, root) { // RFC 9162, 2.1.3.2
  if (!(index >= 0 && index < size)) return false;
  let [place, last, node] = [index, size - 1, leaf];
  for (const step of proof) {
    if (last === 0) return false;
    if (place % 2 || place === last) {
      node = nodeHash(step, node);
      while (place % 2 === 0 && place) { place = Math.floor(place / 2); last = Math.floor(last / 2); }
    } else node = nodeHash(node, step);
    place = Math.floor(place / 2); last = Math.floor(last / 2);
  }
  return last === 0 && node.equals(root);
}

function extends_(first, second, firstRoot, secondRoot, proof) { // RFC 9162, 2.1.4.2
  if (!(first > 0 && first <= second)) return false;
  if (first === second) return proof.length === 0 && firstRoot.equals(secondRoot);
  const path = Number.isInteger(Math.log2(first)) ? [firstRoot, ...proof] : proof;
  if (path.length === 0) return false;
  let [place, last] = [first - 1, second - 1];
  while (place % 2) { place = Math.floor(place / 2); last = Math.floor(last / 2); }
  let [old, now] = [path[0], path[0]];
  for (const step of path.slice(1)) {
    if (last === 0) return false;
    if (place % 2 || place === last) {
      old = nodeHash(step, old); now = nodeHash(step, now);
      while (place % 2 === 0 && place) { place = Math.floor(place / 2); last = Math.floor(last / 2); }
    } else now = nodeHash(now, step);
    place = Math.floor(place / 2); last = Math.floor(last / 2);
  }
  return last === 0 && old.equals(firstRoot) && now.equals(secondRoot);
}

function noteText(note, vkey, where) { // C2SP signed-note, Ed25519, exactly one signature
  const [name, id, key] = [vkey.split("+")[0], vkey.split("+")[1], Buffer.from(vkey.split("+").slice(2).join("+"), "base64")];
  const end = note.lastIndexOf("\n\n"), text = note.slice(0, end + 1), line = note.slice(end + 2);
  const raw = Buffer.from(line.trim().split(" ").pop(), "base64");
  need(line === `— ${name} ${raw.toString("base64")}\n` && raw.subarray(0, 4).toString("hex") === id, where, "not signed by this key");
  const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), key.subarray(1)]);
  need(verify(null, text, createPublicKey({ key: der, format: "der", type: "spki" }), raw.subarray(4)), where, "bad signature");
  return text;
}

const [file, given] = process.argv.slice(2);
const data = readFileSync(file);
if (!data.subarray(0, 256).includes('"k":"manifest"') && !data.subarray(0, 7).equals(Buffer.from('{"n":0,'))) stop(2, "not a bundle");
need(data.at(-1) === 10, "end of file", "it was cut");
const raws = [];
for (let from = 0, to; (to = data.indexOf(10, from)) >= 0; from = to + 1) raws.push(data.subarray(from, to));
let previous = sha("tollbook evidence 1\n").toString("hex");
raws.forEach((raw, number) => {
  need(raw.subarray(0, 128).toString().startsWith(`{"n":${number},"p":"${previous}","k":"`), `line ${number + 1}`, "does not follow");
  previous = sha(raw).toString("hex");
});
const lines = raws.map((raw, number) => ({ number: number + 1, ...JSON.parse(raw) }));
const manifest = lines[0], signature = lines.at(-1), of = (kind) => lines.filter((line) => line.k === kind);
need(manifest.k === "manifest" && signature.k === "signature" && of("signature").length === 1, "file", "manifest or signature is missing");
if (manifest.format !== 1) stop(2, `format ${manifest.format} is not known here`);
const bytesOf = (line) => (line.line === undefined ? Buffer.from(line.base64, "base64") : Buffer.from(line.line));
if (of("entry").some((line) => bytesOf(line).includes('"k":"key.rotated"'))) stop(2, "the signing key was replaced: use tollbook verify");
const key = given ?? manifest.key;
need(key === manifest.key, "manifest", "another book's key");
const count = lines.length - 1, digest = sha(raws.at(-2)).toString("hex"), where = `line ${lines.length}`;
need(raws.at(-1).equals(Buffer.from(`{"n":${count},"p":"${digest}","k":"signature","note":${JSON.stringify(signature.note)}}`)), where, "was changed");
need(noteText(signature.note, key, where) === `tollbook evidence 1\n${manifest.book}\n${count}\n${digest}\n`, where, "signs something else");

const checkpoints = of("checkpoint").map((line) => {
  const [origin, size, root] = noteText(line.note, key, `line ${line.number}`).split("\n");
  need(origin === manifest.origin, `line ${line.number}`, "a checkpoint of another book");
  return { ...line, size: Number(size), root: Buffer.from(root, "base64") };
});
for (const later of checkpoints.slice(1))
  need(extends_(checkpoints[0].size, later.size, checkpoints[0].root, later.root, hex(later.consistency ?? [])), `line ${later.number}`, "does not extend");
const heads = new Map(of("heads").map((line) => {
  const ok = includes(leafHash(bytesOf(line)), line.proof && JSON.parse(bytesOf(line)).number - 1, checkpoints[0].size, hex(line.proof), checkpoints[0].root);
  need(ok, `line ${line.number}`, "heads are not in the signed tree");
  return [JSON.parse(bytesOf(line)).number, JSON.parse(bytesOf(line))];
}));
const seen = new Set();
for (const line of of("entry")) {
  const [, last, , root] = heads.get(line.heads)?.lanes.find(([lane]) => lane === line.lane) ?? [];
  const ok = root && includes(leafHash(bytesOf(line)), line.sequence, last + 1, hex(line.proof), Buffer.from(root, "hex"));
  need(ok, `line ${line.number}`, `entry ${line.sequence} of ${line.lane} is not in its lane's tree`);
  const entry = JSON.parse(bytesOf(line));
  if (!entry.request?.id) continue;
  need(manifest.requests.includes(entry.request.id), `line ${line.number}`, "an entry of another request");
  need(!manifest.tenant || entry.request.tenant === manifest.tenant, `line ${line.number}`, "an entry of another tenant");
  seen.add(entry.request.id);
}
for (const id of manifest.requests) need(seen.has(id), "file", `no entry of request ${id}`);
for (const one of of("opening"))
  need(sha(Buffer.from(one.opening, "hex"), one.value).toString("base64url") === one.digest, `line ${one.number}`, "not the value behind the digest");
console.log(`intact: ${of("entry").length} entries of ${seen.size} requests, signed at position ${checkpoints.map((one) => one.size).join(" and ")}`);
if (!given) console.log(`by the bundle's own key; compare it with the one you were given: ${key}`);
