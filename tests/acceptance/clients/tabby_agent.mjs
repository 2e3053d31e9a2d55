// What Tabby's editor plugins do through their agent, as one JSON object: node tabby_agent.mjs URL
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.CLIENTS, "package.json"));
const { TabbyAgent } = require("tabby-agent");
const memory = { data: {}, load: async () => {}, save: async () => {} };
const agent = new TabbyAgent();
await agent.initialize({
  config: { server: { endpoint: process.argv[2], token: "" }, anonymousUsageTracking: { disable: true } },
  dataStore: memory,
});
const text = "def f(x):\n    return y\n";
const said = { status: agent.getStatus(), model: agent.getServerHealthState()?.model };
const answer = await agent.provideCompletions({
  filepath: "f.py", language: "python", text, position: "def f(x):".length, manually: true,
});
said.texts = answer.choices.map((choice) => choice.text);
said.id = answer.id;
const view = { completion_id: answer.id, choice_index: 0, view_id: "view-1" };
said.viewed = await agent.postEvent({ type: "view", ...view });
said.selected = await agent.postEvent({ type: "select", ...view, elapsed: 1200 });
await agent.finalize();
console.log(JSON.stringify(said));
process.exit(0);
