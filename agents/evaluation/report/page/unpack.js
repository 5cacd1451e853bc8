"use strict";
// Unpacks JSON that a script element holds, gzipped, in base64.

async function unpacked(node) {
  const bytes = Uint8Array.from(atob(JSON.parse(node.textContent)), (one) => one.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}
