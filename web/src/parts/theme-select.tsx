import { useLayoutEffect, useState } from "preact/hooks";

const STORED = "ip2p-theme";
const THEMES = { auto: "as the system", light: "light", dark: "dark" } as const;

/** Dark, light, or what the system has. */
export function ThemeSelect() {
  const [theme, setTheme] = useState(() => localStorage.getItem(STORED) ?? "auto");
  useLayoutEffect(() => {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem(STORED, theme);
  }, [theme]);
  return (
    <label class="theme">
      Colours{" "}
      <select value={theme} onChange={(event) => setTheme(event.currentTarget.value)}>
        {Object.entries(THEMES).map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}
