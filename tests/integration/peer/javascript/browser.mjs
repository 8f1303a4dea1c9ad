// What a browser has and Node lacks, as far as the client's uploader needs it: a window, File, and
// XMLHttpRequest over fetch.
import { File } from "node:buffer";

class Request extends EventTarget {
  upload = new EventTarget();
  readyState = 0;
  status = 0;
  responseText = "";
  #headers = {};
  #answer = new Headers();
  #controller = new AbortController();

  open(method, url) {
    this.method = method;
    this.url = url;
    this.readyState = 1;
  }
  setRequestHeader(name, value) {
    // A browser sets the length itself.
    if (name.toLowerCase() !== "content-length") this.#headers[name] = value;
  }
  getResponseHeader(name) {
    return this.#answer.get(name);
  }
  abort() {
    this.#controller.abort();
  }
  async send(body) {
    try {
      const answer = await fetch(this.url, {
        method: this.method,
        headers: this.#headers,
        body,
        signal: this.#controller.signal,
      });
      this.status = answer.status;
      this.#answer = answer.headers;
      this.responseText = await answer.text();
      this.readyState = 4;
      this.#emit("load");
      this.onreadystatechange?.();
    } catch (error) {
      this.readyState = 4;
      this.#emit(this.#controller.signal.aborted ? "abort" : "error");
    }
    this.#emit("loadend");
  }
  #emit(name) {
    this[`on${name}`]?.(new Event(name));
    this.dispatchEvent(new Event(name));
  }
}

globalThis.XMLHttpRequest ??= Request;
globalThis.File ??= File;
globalThis.window ??= Object.assign(new EventTarget(), { navigator: { onLine: true } });
