'use strict';
// A script executor in Node, for comparison: lines of calls in, lines of answers out. As the platforms that run scripts in Node do, a script
// is compiled once and every call parses its message and metadata and writes its result inside, either in a context of its own ("sandbox")
// or as a plain function ("plain").
const vm = require('vm');

const sandbox = process.argv[2] === 'sandbox';
const timeout = 500; // ms
const scripts = new Map();

function compile(parameters, body) {
  const [msg, metadata, type] = parameters;
  const code = `function invoke(${msg}Text, ${metadata}Text, ${type}) {
    var ${msg} = JSON.parse(${msg}Text); var ${metadata} = JSON.parse(${metadata}Text);
    return JSON.stringify(body(${msg}, ${metadata}, ${type}));
    function body(${parameters.join(', ')}) {${body}\n}
  }`;
  if (!sandbox) return vm.runInThisContext(`(${code})`);
  const script = new vm.Script(`(${code})(...args)`);
  return (...args) => {
    const globals = Object.create(null);
    globals.args = args;
    return script.runInNewContext(globals, { timeout });
  };
}

function answer(line) {
  const { script, parameters, body, calls } = JSON.parse(line);
  let run = scripts.get(script);
  if (!run) scripts.set(script, run = compile(parameters, body));
  return JSON.stringify(calls.map(([id, args]) => [id, run(...args)])) + '\n';
}

let rest = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', (text) => {
  const lines = (rest + text).split('\n');
  rest = lines.pop();
  let out = '';
  for (const line of lines) out += answer(line);
  if (out) process.stdout.write(out);
});
