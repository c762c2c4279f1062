// What the wire brings (docs/prompt-in-the-page.md), for checking the scripts. No page loads this file.

type Answer = number | string | string[] | undefined;

interface Step {
  id: string;
  type: "scale" | "choice" | "choices" | "text";
  title: string;
  required: boolean;
  /** How a scale looks. */
  style?: "numbers" | "stars" | "faces";
  /** The ends of a scale; of a text, `max` is its greatest length. */
  min?: number;
  max?: number;
  low?: string;
  high?: string;
  options?: { id: string; label: string }[];
  /** It is asked of scores from here to there. */
  from?: number;
  to?: number;
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
  thanks: string;
}
