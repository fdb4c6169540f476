// Takes a picture that is pasted or dropped anywhere on the page, makes it small, and sends it to
// Python. Also puts the cursor into the search box when the page opens.

const EDGE = 1024;
const LARGEST = 60_000_000;

async function shrink(file) {
  const bitmap = await createImageBitmap(file);
  const factor = Math.min(1, EDGE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * factor));
  canvas.height = Math.max(1, Math.round(bitmap.height * factor));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.92);
}

function pictureIn(transfer) {
  return [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/"));
}

async function take(file, send) {
  if (file.size > LARGEST) return send("refused", "It is too large.");
  try {
    send("picture", { name: file.name, data: await shrink(file) });
  } catch {
    send("refused", "This browser cannot read it. Try the upload button.");
  }
}

function focusSearchBox(left = 40) {
  const box = document.querySelector(".st-key-q input");
  if (box) {
    if (document.activeElement === document.body) box.focus({ preventScroll: true });
  } else if (left) setTimeout(() => focusSearchBox(left - 1), 50);
}

export default function ({ setTriggerValue }) {
  window.__imgsearchReceiver?.abort();
  const control = new AbortController();
  window.__imgsearchReceiver = control;
  const { signal } = control;
  document.addEventListener("paste", (event) => {
    const file = pictureIn(event.clipboardData);
    if (!file) return;
    event.preventDefault();
    take(file, setTriggerValue);
  }, { signal });
  // Without this the browser would leave the page and show the dropped file.
  document.addEventListener("dragover", (event) => {
    if (!event.target.closest?.('[data-testid="stFileUploader"]')) event.preventDefault();
  }, { signal });
  document.addEventListener("drop", (event) => {
    if (event.target.closest?.('[data-testid="stFileUploader"]')) return;
    event.preventDefault();
    // Some systems know no type for HEIC; what is no picture at all shall be refused aloud.
    const file = pictureIn(event.dataTransfer) ?? event.dataTransfer?.files[0];
    if (file) take(file, setTriggerValue);
  }, { signal });
  focusSearchBox();
  return () => control.abort();
}
