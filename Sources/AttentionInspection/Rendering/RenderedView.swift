internal import Foundation

/// One view of an inspection in every form: as a picture, as a table and as data.
public struct RenderedView: Sendable {
    /// What is shown.
    public let state: ViewState
    /// The picture, a whole SVG document with its own style sheet; text is text.
    public let svg: String
    /// The numbers behind it.
    public let table: Table
    /// What the picture shows, in one sentence.
    public let caption: String
    /// What the reader has to know: what was left out, and why.
    public let notes: [String]
    private let data: any Encodable & Sendable

    init(
        state: ViewState, picture: Picture, table: Table, caption: String, notes: [String],
        data: any Encodable & Sendable
    ) {
        self.state = state
        svg = picture.svg(title: caption, theme: state.theme)
        self.table = table
        self.caption = caption
        self.notes = notes
        self.data = data
    }

    /// Returns the numbers as one JSON object, which `docs/command.md` describes.
    ///
    /// - Returns: UTF-8 with a line end; keys in alphabetical order.
    /// - Throws: `InspectionError.notFinite` if a number is not finite: JSON has no such numbers.
    public func json() throws(InspectionError) -> String {
        try data.jsonText()
    }

    /// Returns picture, table and state as one HTML document that needs nothing else: no other file, no network.
    ///
    /// - Returns: UTF-8.
    public func html() -> String {
        let head = table.columns.map { "<th scope=\"col\">\($0.escapedForXML)</th>" }.joined()
        let rows = table.rows.map { row in
            "<tr>" + row.map { "<td>\($0.escapedForXML)</td>" }.joined() + "</tr>"
        }.joined(separator: "\n")
        let notes = notes.map { "<p>\($0.escapedForXML)</p>" }.joined()
        let theme = state.theme == .auto ? "" : " data-theme=\"\(state.theme.rawValue)\""
        return """
            <!DOCTYPE html>
            <html lang="en"\(theme)>
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
            script-src 'unsafe-inline'; img-src data:">
            <title>\(caption.escapedForXML)</title>
            <style>
            :root { color-scheme: light dark; --ground: #fff; --ink: #1b1b1f; --line: #8a8a94; }
            @media (prefers-color-scheme: dark) { :root { --ground: #17171b; --ink: #ececf1; } }
            :root[data-theme=light] { color-scheme: light; --ground: #fff; --ink: #1b1b1f; }
            :root[data-theme=dark] { color-scheme: dark; --ground: #17171b; --ink: #ececf1; }
            body { margin: 1rem auto; max-width: \(state.width)px; padding: 0 .5rem; background: var(--ground); \
            color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
            svg { max-width: 100%; height: auto; }
            .table { overflow-x: auto; }
            table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
            th, td { border-bottom: 1px solid var(--line); padding: .2rem .6rem; text-align: left; }
            code { overflow-wrap: anywhere; }
            [data-value]:hover { outline: 2px solid currentColor; }
            #number { min-height: 1.5em; }
            </style>
            </head>
            <body>
            <main>
            \(svg)
            <p id="number" role="status"></p>
            <details><summary>The numbers as a table</summary>
            <div class="table" tabindex="0"><table><caption>\(table.title.escapedForXML)</caption>
            <thead><tr>\(head)</tr></thead>
            <tbody>
            \(rows)
            </tbody></table></div></details>
            \(notes)
            <p>The same from the command line: <code>\(state.command.escapedForXML)</code></p>
            </main>
            <script>
            // A mark under the pointer says its number below the picture.
            const place = document.getElementById("number");
            document.querySelector("svg").addEventListener("pointerover", event => {
              const mark = event.target.closest("[data-value]");
              const title = mark && mark.querySelector("title");
              place.textContent = title ? title.textContent : "";
            });
            </script>
            </body>
            </html>

            """
    }
}

extension Encodable {
    /// The value as JSON with a line end, keys in alphabetical order.
    func jsonText() throws(InspectionError) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        do {
            return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
        } catch {
            throw .notFinite(place: "\(error)")
        }
    }
}
