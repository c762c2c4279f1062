// The rules that find mistakes, and those that keep text from becoming HTML or code.
const browser = [
  "addEventListener", "Blob", "clearTimeout", "CSS", "CSSStyleSheet", "CustomEvent", "customElements", "document",
  "Element", "fetch", "FormData", "getSelection", "HTMLElement", "location", "MutationObserver", "navigator",
  "performance", "requestAnimationFrame", "setTimeout", "URLSearchParams", "window",
];
const html = ["innerHTML", "outerHTML", "insertAdjacentHTML", "setHTMLUnsafe", "write"];

module.exports = [
  {
    files: ["**/*.js"],
    languageOptions: {
      ecmaVersion: 2023,
      sourceType: "script",
      globals: Object.fromEntries(browser.map((name) => [name, "readonly"])),
    },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "array-callback-return": "error",
      "constructor-super": "error",
      curly: ["error", "multi-line"],
      eqeqeq: ["error", "always", { null: "ignore" }],
      "getter-return": "error",
      "no-const-assign": "error",
      "no-dupe-args": "error",
      "no-dupe-keys": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-param-reassign": "error",
      "no-redeclare": "error",
      "no-restricted-properties": ["error", ...html.map((property) => ({ property, message: "Text only." }))],
      "no-restricted-syntax": ["error", { selector: "MemberExpression[property.name='style']", message: "No inline style." }],
      "no-shadow": "error",
      "no-undef": "error",
      "no-unreachable": "error",
      "no-unsafe-optional-chaining": "error",
      "no-unused-vars": "error",
      "no-use-before-define": ["error", { functions: false, variables: false }],
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "valid-typeof": "error",
    },
  },
];
