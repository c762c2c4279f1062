// What the wire brings (docs/prompt-in-the-page.md), for checking prompt.js and friction.js. No page loads this file.

type Answer = number | string | string[];

interface Step {
  id: string;
  type: "scale" | "choice" | "choices" | "text";
  title: string;
  hint?: string;
  required?: boolean;
  /** How a scale looks; numbers unless told. */
  style?: "numbers" | "stars" | "faces";
  /** The ends of a scale; of a text the greatest length. */
  min?: number;
  max?: number;
  low?: string;
  high?: string;
  options?: { id: string; label: string }[];
  /** Where to go on for some answers. */
  next?: { is: (number | string)[]; go: string }[];
  /** Where to go on for all others; nowhere: this was the last step. */
  then?: string;
}

interface Offer {
  v: 1;
  impression: string;
  prompt: string;
  token: string;
  expires_in: number;
  delay_ms: number;
  lang: string;
  dir: "ltr" | "rtl";
  labels: Record<
    "announce" | "close" | "send" | "next" | "back" | "required" | "invalid" | "failed" | "opt_out" | "opted_out",
    string
  >;
  steps: Step[];
  thanks: { title: string; text?: string };
}
