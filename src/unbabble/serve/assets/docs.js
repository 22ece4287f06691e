// The page of the API, made of /openapi.json.

const make = (tag, text, ...more) => {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  element.append(...more);
  return element;
};

const typeOf = (schema, parts) => {
  if (schema.$ref) return typeOf(parts[schema.$ref.split("/").at(-1)], parts);
  if (schema.anyOf) return schema.anyOf.map((one) => typeOf(one, parts)).filter((one) => one !== "null").join(" or ");
  if (schema.enum) return schema.enum.join(" or ");
  if (schema.const) return schema.const;
  if (schema.items) return `list of ${typeOf(schema.items, parts)}`;
  return schema.contentMediaType || schema.format === "binary" ? "file" : schema.type ?? "any";
};

function table(title, fields) {
  const body = make("table", "", make("tr", "", ...[title, "", ""].map((text) => make("th", text))));
  for (const [name, type, text] of fields) {
    body.append(make("tr", "", make("td", "", make("code", name)), make("td", type), make("td", text)));
  }
  return body;
}

function fieldsOf(schema, parts) {
  const object = schema.$ref ? parts[schema.$ref.split("/").at(-1)] : schema.items ? parts[schema.items.$ref.split("/").at(-1)] : schema;
  return Object.entries(object.properties ?? {}).map(([name, field]) => {
    const least = field.default === undefined || field.default === null ? "" : ` Default: ${JSON.stringify(field.default)}.`;
    return [name, typeOf(field, parts), (field.description ?? "") + least];
  });
}

function example(path, method, operation) {
  const body = operation.requestBody?.content ?? {};
  const form = "multipart/form-data" in body ? " -F file=@talk.m4a" : "";
  const json = "application/json" in body ? ` -H 'Content-Type: application/json' -d '{"names": {"speaker1": "Ann"}}'` : "";
  return `curl${method === "get" || form ? "" : ` -X ${method.toUpperCase()}`}${form}${json} ${location.origin}${path}`;
}

const api = await (await fetch("/openapi.json")).json(), parts = api.components.schemas;
document.getElementById("about").textContent = api.info.description.replaceAll("`", "");
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    const name = make("b", method.toUpperCase());
    name.className = `method ${method}`;
    const entry = make("details", "", make("summary", "", name, make("code", path), make("span", operation.description?.split("\n")[0])));
    const rest = operation.description?.split("\n\n")[1];
    if (rest) entry.append(make("p", rest));
    entry.append(make("pre", "", make("code", example(path, method, operation))));
    const given = (operation.parameters ?? []).map((one) => [one.name, typeOf(one.schema, parts), one.schema.description ?? one.description ?? ""]);
    if (given.length) entry.append(table("In the address", given));
    const [body] = Object.values(operation.requestBody?.content ?? {});
    if (body) entry.append(table("Sent", fieldsOf(body.schema, parts)));
    const answer = operation.responses["200"] ?? operation.responses["201"];
    const schema = answer?.content?.["application/json"]?.schema;
    if (schema && (schema.$ref || schema.items)) entry.append(table("Answer", fieldsOf(schema, parts)));
    document.getElementById("docs").append(entry);
  }
}
