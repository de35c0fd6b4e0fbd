import Attention
import Foundation
import PretrainedModels
import SequenceModels
import TestSupport
import Testing

@testable import SemanticSearch

/// A folder with a small model, and an index in it.
private final class Workplace {
    let folder = "\(TestEnvironment.temporaryFolder)/search-tests-\(UUID().uuidString)"
    let embedder: TextEmbedder
    var path: String { "\(folder)/index.sqlite" }

    init(seed: UInt64 = 1, isNormalized: Bool = true) throws {
        try TinyBERT(seed: seed).write(to: "\(folder)/model")
        try TinyBERT(seed: seed).writeSentenceFiles(to: "\(folder)/model", isNormalized: isNormalized)
        embedder = try TextEmbedder(folder: "\(folder)/model")
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    /// Adds a source, as lines that are numbered from 1, in batches of a length that divides nothing.
    @discardableResult
    func add(_ name: String, _ texts: [String], finishing: Bool = true) throws -> SourceUpdate.Count {
        var update = try SourceUpdate(name, in: SearchIndex(path: path, mode: .create), embedder: embedder)
        let lines = texts.enumerated().map { (number: $0 + 1, text: $1) }
        for start in stride(from: 0, to: lines.count, by: 701) {
            try update.add(Array(lines[start..<min(start + 701, lines.count)]))
        }
        if finishing { try update.finish() }
        return update.count
    }

    func hits(_ query: String, _ count: Int) throws -> [SearchEngine.Hit] {
        try SearchEngine(SearchIndex(path: path, mode: .read), embedder: embedder).hits(for: query, count: count)
    }

    /// What a search has to find: every text's vector times the query's, in double precision.
    func expected(_ query: String, among texts: [String]) throws -> [(text: String, score: Double)] {
        let vector = try embedder.embedding(of: query)
        return try texts.map { text in
            let other = try embedder.embedding(of: text)
            func product(_ a: [Float], _ b: [Float]) -> Double {
                zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) }
            }
            return (text, product(vector, other) / (product(vector, vector) * product(other, other)).squareRoot())
        }.sorted { $0.score > $1.score }
    }
}

/// Texts that differ, from a counter in letters, of one to six words that the small model knows.
private func texts(_ range: Range<Int>) -> [String] {
    range.map { number in
        var (rest, letters) = (number, "")
        repeat {
            letters += letters.isEmpty ? "" : " "
            letters.append(Character(Unicode.Scalar(UInt8(97 + rest % 26))))
            rest /= 26
        } while rest > 0
        return "the \(letters)"
    }
}

@Suite struct `A search index` {
    private let place: Workplace

    init() throws { place = try Workplace() }

    @Test(arguments: [true, false])
    func `finds the closest texts by comparing all`(isNormalized: Bool) throws {
        let place = try Workplace(isNormalized: isNormalized)
        let all = texts(0..<53)
        try place.add("a", all)
        for query in ["the cat", "a", "the z y x"] {
            let expected = try place.expected(query, among: all)
            let found = try place.hits(query, 7)
            #expect(found.count == 7)
            for (hit, other) in zip(found, expected) { #expect(abs(Double(hit.score) - other.score) < 1e-6) }
            #expect(found.first?.text == expected.first?.text)
            #expect(Set(try place.hits(query, 1000).map(\.text)) == Set(all))
        }
        let first = try #require(try place.hits(all[29], 1).first)
        #expect(first.text == all[29] && first.places == [SearchEngine.Place(source: "a", line: 30)])
    }

    // Texts go beyond a block of 1,024, and those that are deleted come from all of it.
    @Test func `is after any changes as if it had been begun with the last state`() throws {
        try place.add("a", texts(0..<1500))
        try place.add("b", texts(1400..<2300))
        #expect(try place.add("a", texts(100..<700)).embedded == 0)
        let changed = texts(0..<2300).enumerated().filter { $0.offset % 3 != 0 && $0.offset < 1700 }.map(\.element)
        try place.add("b", changed)
        try SearchIndex(path: place.path, mode: .write).remove(source: "a")
        let index = try SearchIndex(path: place.path, mode: .read)
        #expect(try index.summary().textCount == changed.count)
        #expect(
            try index.summary().sources
                == [.init(name: "b", lineCount: changed.count, isWhole: true)].map { $0 as SearchIndex.Source })
        let other = try Workplace()
        try other.add("b", changed)
        for query in ["the cat", "b c d"] {
            let (found, fresh) = (try place.hits(query, changed.count), try other.hits(query, changed.count))
            #expect(found.map(\.score) == fresh.map(\.score))
            func sorted(_ hits: [SearchEngine.Hit]) -> [String] { hits.map { "\($0.text) \($0.places)" }.sorted() }
            #expect(sorted(found) == sorted(fresh))
        }
        try SearchIndex(path: place.path, mode: .write).remove(source: "b")
        #expect(try place.hits("the cat", 3).isEmpty)
        #expect(try place.add("c", ["the cat"]).embedded == 1)
        #expect(try place.hits("the cat", 3).map(\.text) == ["the cat"])
    }

    @Test func `embeds each text once`() throws {
        #expect(try place.add("a", ["a", "b", "a", "", " \t", "c"]) == counted(lines: 4, embedded: 3))
        #expect(try place.add("a", ["new", "a", "b", "a", "c"]) == counted(lines: 5, embedded: 1))
        #expect(try place.add("b", ["c", "d"]) == counted(lines: 2, embedded: 1))
        let hit = try #require(try place.hits("c", 1).first)
        #expect(hit.text == "c" && hit.placeCount == 2)
        #expect(
            hit.places == [.init(source: "a", line: 5), .init(source: "b", line: 1)].map { $0 as SearchEngine.Place })
        // What looks alike is told apart by its bytes, and any character is kept.
        try place.add("c", ["\u{E9}", "e\u{301}", "a\u{0}b"])
        let found = Set(try place.hits("c", 100).map { Array($0.text.utf8) })
        #expect(found.isSuperset(of: [Array("\u{E9}".utf8), Array("e\u{301}".utf8), [97, 0, 98]]))
    }

    private func counted(lines: Int, embedded: Int) -> SourceUpdate.Count {
        var count = SourceUpdate.Count()
        (count.lines, count.embedded) = (lines, embedded)
        return count
    }

    @Test func `keeps what was there until an update is finished`() throws {
        try place.add("a", texts(0..<30))
        // As a process that ends in the middle.
        try place.add("a", texts(20..<60), finishing: false)
        let index = try SearchIndex(path: place.path, mode: .write)
        #expect(try index.summary().sources.map(\.isWhole) == [true, false])
        let all = try place.hits("the cat", 100)
        #expect(Set(all.map(\.text)) == Set(texts(0..<60)) && all.allSatisfy { $0.placeCount > 0 })
        #expect(try place.add("a", texts(20..<61)).embedded == 1)
        #expect(try index.summary().sources.map(\.isWhole) == [true])
        #expect(Set(try place.hits("the cat", 100).map(\.text)) == Set(texts(20..<61)))
    }

    @Test func `notices another process's changes`() throws {
        try place.add("a", ["a", "b"])
        let engine = try SearchEngine(SearchIndex(path: place.path, mode: .read), embedder: place.embedder)
        #expect(try engine.hits(for: "the cat", count: 9).count == 2)
        try place.add("b", ["c"])
        #expect(try engine.hits(for: "the cat", count: 9).count == 3)
        try place.add("a", ["b"])
        #expect(try Set(engine.hits(for: "the cat", count: 9).map(\.text)) == ["b", "c"])
    }

    @Test func `tells which of two updates of a source has won`() throws {
        let index = try SearchIndex(path: place.path, mode: .create)
        var first = try SourceUpdate("a", in: index, embedder: place.embedder)
        try first.add([(1, "a")])
        try place.add("a", ["b"])
        #expect {
            try first.add([(2, "c")])
        } throws: {
            if case SearchIndexError.updatedMeanwhile(name: "a") = $0 { true } else { false }
        }
        #expect(throws: SearchIndexError.self) { try first.finish() }
        #expect(try place.hits("a", 9).map(\.text) == ["b"])
    }
}

@Suite struct `What is no search index` {
    private let place: Workplace

    init() throws { place = try Workplace() }

    /// Expects an error of a case, or of any.
    private func expect(
        _ name: String?, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
    ) {
        do {
            try body()
            Issue.record("Nothing was thrown.", sourceLocation: sourceLocation)
        } catch {
            let isTyped = error is SearchIndexError
            // The one case without facts has no label.
            let found = Mirror(reflecting: error).children.first?.label ?? "emptyQuery"
            #expect(isTyped && name ?? found == found, "\(error)", sourceLocation: sourceLocation)
        }
    }

    @Test func `is not taken for one`() throws {
        expect("notFound") { _ = try place.hits("a", 1) }
        for bytes in [Array("no database at all, but some text".utf8) + [UInt8](repeating: 65, count: 5000), [1, 2]] {
            try Data(bytes).write(to: URL(fileURLWithPath: place.path))
            for mode in [SearchIndex.Mode.read, .write, .create] {
                expect("notAnIndex") {
                    _ = try SearchIndex(path: place.path, mode: mode)
                }
            }
            #expect(try Data(contentsOf: URL(fileURLWithPath: place.path)) == Data(bytes))
        }
        // An index that was cut off, or whose bytes are others, is refused or answers; it never stops the program.
        try FileManager.default.removeItem(atPath: place.path)
        try place.add("a", texts(0..<900))
        let whole = try Data(contentsOf: URL(fileURLWithPath: place.path))
        for count in stride(from: 1, to: whole.count, by: whole.count / 13) {
            try whole.prefix(count).write(to: URL(fileURLWithPath: place.path))
            expect(nil) {
                _ = try place.hits("a", 1000)
                // What was cut off may be what a search does not read.
                throw SearchIndexError.emptyQuery
            }
        }
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<40 {
            var bytes = whole
            for _ in 0..<50 {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = .random(in: 0...255, using: &generator)
            }
            try bytes.write(to: URL(fileURLWithPath: place.path))
            expect(nil) {
                _ = try place.hits("a", 1000)
                throw SearchIndexError.emptyQuery
            }
        }
    }

    @Test func `is not another model's`() throws {
        try place.add("a", ["a"])
        let other = try Workplace(seed: 5)
        let index = try SearchIndex(path: place.path, mode: .write)
        expect("otherModel") {
            _ = try SearchEngine(index, embedder: other.embedder)
        }
        expect("otherModel") {
            _ = try SourceUpdate("b", in: index, embedder: other.embedder)
        }
        // The same model elsewhere, and in the other type, is the same.
        let again = try Workplace()
        #expect(try SearchEngine(index, embedder: again.embedder).hits(for: "a", count: 1).count == 1)
        let rounded = try TextEmbedder(folder: "\(place.folder)/model", elementType: .bfloat16)
        #expect(try SearchEngine(index, embedder: rounded).hits(for: "a", count: 1).count == 1)
    }

    @Test func `answers no empty query, and forgets nothing unknown`() throws {
        try place.add("a", ["a"])
        for query in ["", " \n"] {
            expect("emptyQuery") { _ = try place.hits(query, 1) }
        }
        let engine = try SearchEngine(SearchIndex(path: place.path, mode: .read), embedder: place.embedder)
        let long = String(repeating: "a ", count: 5000)
        #expect(try !engine.readsAll(of: long) && engine.readsAll(of: "a"))
        #expect(try engine.hits(for: long, count: 1).count == 1)
        expect("unknownSource") {
            try SearchIndex(path: place.path, mode: .write).remove(source: "x")
        }
    }
}

@Suite struct `Matching words` {
    @Test func `are those that the model's own numbers make closest`() throws {
        let place = try Workplace()
        let embedder = place.embedder
        let (query, text) = ("the ab, x!", "x the cab")
        let matches = try #require(try embedder.wordMatches(query: query, texts: [text]).first)
        #expect(matches.map(\.queryWord) == ["the", "ab", "x"])
        // The same by the definition: of each token's vector, one after the other.
        func states(_ text: String) throws -> [[Double]] {
            let rows = embedder.encoder([try embedder.tokens(of: text).map(Int.init)]).floats
            return stride(from: 0, to: rows.count, by: 24).map { rows[$0..<$0 + 24].map(Double.init) }
        }
        func cosine(_ a: [Double], _ b: [Double]) -> Double {
            func product(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
            return product(a, b) / (product(a, a) * product(b, b)).squareRoot()
        }
        // [CLS] the a ##b , x ! [SEP] and [CLS] x the c ##a ##b [SEP]
        let (q, t) = (try states(query), try states(text))
        let words: [(String, Range<Int>)] = [("x", 1..<2), ("the", 2..<3), ("cab", 3..<6)]
        for (match, tokens) in zip(matches, [1..<2, 2..<4, 5..<6]) {
            let best = try #require(
                words.map { word in
                    (
                        word.0,
                        tokens.map { i in word.1.map { cosine(q[i], t[$0]) }.max() ?? -1 }.reduce(0, +)
                            / Double(tokens.count)
                    )
                }.max { $0.1 < $1.1 })
            #expect(match.textWord == best.0 && abs(Double(match.similarity) - best.1) < 1e-5)
        }
        #expect(try embedder.wordMatches(query: "a b", texts: ["", "a b"]).map(\.count) == [0, 2])
        #expect(
            try embedder.wordMatches(query: "a b", texts: ["a b"])[0].allSatisfy {
                $0.queryWord == $0.textWord && abs($0.similarity - 1) < 1e-5
            })
        // Beyond what the model reads there are no words; signs are words where there is nothing else.
        #expect(try embedder.wordMatches(query: String(repeating: "a ", count: 50), texts: ["b"])[0].count == 10)
        #expect(try embedder.wordMatches(query: "!", texts: ["b"])[0].count == 1)
    }
}
