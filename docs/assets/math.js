// Renders the formulas of a page with the copy of KaTeX beside this file.
document.addEventListener("DOMContentLoaded", () => {
  for (const node of document.querySelectorAll(".arithmatex")) {
    const text = node.textContent.trim();
    katex.render(text.slice(2, -2), node, { displayMode: text.startsWith("\\["), throwOnError: false });
  }
});
