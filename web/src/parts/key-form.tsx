import { useState } from "preact/hooks";
import { setKey } from "../api.js";
import { connect } from "../state.js";

/** Asks for the key of a server that needs one. */
export function KeyForm() {
  const [key, change] = useState("");
  return (
    <form
      class="panel"
      onSubmit={(event) => {
        event.preventDefault();
        setKey(key);
        void connect();
      }}
    >
      <label class="field">
        This server needs a key
        <input
          type="password"
          autocomplete="current-password"
          value={key}
          onInput={(event) => change(event.currentTarget.value)}
        />
      </label>
      <p class="hint">It is kept until this tab is closed.</p>
      <button type="submit" class="primary">
        Go on
      </button>
    </form>
  );
}
