// The frames of one moment, to pick one from. Names are attributes only, never markup.

export default function ({ parentElement, data, setTriggerValue }) {
  const strip = parentElement.querySelector(".strip");
  const key = JSON.stringify(data.frames);
  if (strip.dataset.frames !== key) {
    strip.dataset.frames = key;
    strip.replaceChildren(...data.frames.map((frame, place) => {
      const button = document.createElement("button");
      button.className = "frame";
      button.type = "button";
      button.setAttribute("aria-label", `Frame ${place + 1} of ${data.frames.length}: ${frame.name}`);
      const image = document.createElement("img");
      Object.assign(image, { alt: "", loading: "lazy", src: frame.src });
      button.append(image);
      return button;
    }));
  }
  [...strip.children].forEach((button, place) => {
    button.setAttribute("aria-current", String(place === data.at));
    button.onclick = () => setTriggerValue("pick", place);
  });
}
