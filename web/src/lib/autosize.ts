// Lets a textarea grow with its text, up to the max-height its style sets.
import type { Attachment } from 'svelte/attachments';

/** `text` is read so that a change from outside (a draft, a sent message) resizes too. */
export function autosize(text: () => string): Attachment<HTMLTextAreaElement> {
  return (area) => {
    text();
    area.style.height = 'auto';
    // Borders are outside scrollHeight but inside a border-box height.
    const borders = area.offsetHeight - area.clientHeight;
    area.style.height = `${area.scrollHeight + borders}px`;
  };
}
