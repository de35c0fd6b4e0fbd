import ArgumentParser
import AttentionInspection
import Foundation
import PretrainedModels
import SemanticSearch

/// `attend search TEXT`: the closest lines.
struct SearchQueryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "query", abstract: "Finds the closest lines (the default: 'query' may be left out).")

    @Argument(help: ArgumentHelp("What to look for; - reads a query from each line of standard input."))
    var text: String

    @Option(help: ArgumentHelp("How many lines to show.", valueName: "n"))
    var count = 10

    @Flag(help: "Say which words of query and line match.")
    var explain = false

    @Flag(help: "One JSON object for a query.")
    var json = false

    @OptionGroup var model: SearchModelOptions
    @OptionGroup var index: SearchIndexOptions

    private struct Answer: Encodable {
        struct Place: Encodable {
            let source: String
            let line: Int
        }
        struct Match: Encodable {
            let query, text: String
            let similarity: Float
        }
        struct Hit: Encodable {
            let score: Float
            let text: String
            let places: [Place]
            let placeCount: Int
            let matches: [Match]?
        }
        let query: String
        let hits: [Hit]
    }

    func validate() throws {
        if count < 1 { throw ValidationError("--count is \(count); it must be 1 or more.") }
        if text.allSatisfy(\.isWhitespace) { throw ValidationError("The query is empty. Give at least one word.") }
    }

    func run() throws {
        try reportingSearchFailures {
            index.common.apply()
            let opened = try index.open(.read)
            let engine = try SearchEngine(opened, embedder: model.embedder(for: opened))
            guard text == "-" else { return try answer(text, with: engine) }
            let lines = try LineReader("-")
            while let line = try lines.next() { try answer(line.text, with: engine) }
        }
    }

    private func answer(_ query: String, with engine: SearchEngine) throws {
        let hits = try engine.hits(for: query, count: count)
        if hits.isEmpty { StandardError.write("attend: the index is empty.\n") }
        if try !engine.readsAll(of: query) {
            StandardError.write(
                "attend: the query is long; the model reads its first \(engine.embedder.maximumTokenCount) tokens.\n")
        }
        let matches =
            explain ? try engine.embedder.wordMatches(query: query, texts: hits.map(\.text)) : hits.map { _ in [] }
        if json {
            return try writeJSON(
                Answer(
                    query: query,
                    hits: zip(hits, matches).map { hit, matches in
                        Answer.Hit(
                            score: hit.score, text: hit.text,
                            places: hit.places.map { Answer.Place(source: $0.source, line: $0.line) },
                            placeCount: hit.placeCount,
                            matches: explain
                                ? matches.map {
                                    Answer.Match(query: $0.queryWord, text: $0.textWord, similarity: $0.similarity)
                                } : nil)
                    }))
        }
        var text = ""
        for (hit, matches) in zip(hits, matches) {
            let place = hit.places.first.map { "\($0.source):\($0.line)" } ?? ""
            let more = hit.placeCount > 1 ? " and \(hit.placeCount - 1) more" : ""
            text += "\(Self.number(hit.score))  \(hit.text.printable)\n        \(place.printable)\(more)\n"
            if explain {
                let words = matches.map {
                    "\($0.queryWord.printable) → \($0.textWord.printable) \(Self.number($0.similarity))"
                }
                text += "        \(words.joined(separator: " · "))\n"
            }
        }
        try writeOutput(text)
    }

    private static func number(_ number: Float) -> String {
        String(format: "%6.3f", locale: Locale(identifier: "en_US_POSIX"), Double(number))
    }
}
