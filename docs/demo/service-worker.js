// Keeps the page for reading without a network. vite.config.ts writes it beside the built page, with the names of all its
// files and a version that changes with any of them.

const FILES = __FILES__;
// An origin may have several copies of the page, in folders of their own.
const OURS = `lenet-5 ${self.registration.scope} `;
const CACHE = OURS + __VERSION__;

self.addEventListener("install", (event) => {
  // The browser's own cache may hold the former version's page: each file is asked for again, which costs little where it
  // has not changed.
  const files = FILES.map((file) => new Request(file, { cache: "no-cache" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(files)));
});

// Runs once no page of the former version is open: those still need its files.
self.addEventListener("activate", (event) => {
  const old = (name) => name.startsWith(OURS) && name !== CACHE;
  event.waitUntil(caches.keys().then((names) => Promise.all(names.filter(old).map((name) => caches.delete(name)))));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(self.registration.scope)) return;
  const kept = async () => (await caches.open(CACHE)).match(request.mode === "navigate" ? "index.html" : request);
  // The page itself from the network where there is one, so that a new version is seen at once; its other files bear
  // their contents' hash in their names.
  event.respondWith(
    request.mode === "navigate"
      ? fetch(request).catch(async () => (await kept()) ?? Response.error())
      : kept().then((response) => response ?? fetch(request)),
  );
});
