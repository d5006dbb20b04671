import type { Metadata, Viewport } from "next";
import Script from "next/script";
import type { ReactNode } from "react";
import "./style.css";

export const metadata: Metadata = {
  title: "Orders",
  description: "Your orders, and an assistant who can see this page.",
};
export const viewport: Viewport = { colorScheme: "light dark" };

// Before the page becomes interactive, so that the chat is there as soon as it is asked for; the page does not wait.
const CHATKIT = "https://cdn.platform.openai.com/deployments/chatkit/chatkit.js";

export default function RootLayout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        {children}
        <Script src={CHATKIT} strategy="beforeInteractive" />
      </body>
    </html>
  );
}
