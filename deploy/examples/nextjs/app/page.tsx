import { Assistant } from "./assistant";

// A page like any other: the assistant is told its address, its title and these headings.
export default function Page() {
  return (
    <>
      <main>
        <h1>Your orders</h1>
        <h2>On their way</h2>
        <p>A-17, a lighthouse lamp, shipped on Monday.</p>
        <h2>Being packed</h2>
        <p>B-4, forty metres of rope.</p>
      </main>
      <Assistant />
    </>
  );
}
