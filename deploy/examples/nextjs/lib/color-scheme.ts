"use client";

import { useEffect, useState, useSyncExternalStore } from "react";

export type ColorScheme = "light" | "dark";

const DARK = "(prefers-color-scheme: dark)";

/** The system's colours, until somebody asks for others. The whole page follows, by `data-theme`. */
export function useColorScheme(): [ColorScheme, (chosen: ColorScheme) => void] {
  const [chosen, setChosen] = useState<ColorScheme | null>(null);
  const isDark = useSyncExternalStore(follow, () => matchMedia(DARK).matches, () => false);
  useEffect(() => {
    if (chosen) document.documentElement.dataset.theme = chosen;
  }, [chosen]);
  return [chosen ?? (isDark ? "dark" : "light"), setChosen];
}

function follow(changed: () => void): () => void {
  const query = matchMedia(DARK);
  query.addEventListener("change", changed);
  return () => query.removeEventListener("change", changed);
}
