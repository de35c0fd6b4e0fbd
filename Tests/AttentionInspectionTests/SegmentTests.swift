import TestSupport
import Testing

@testable import AttentionInspection

@Suite struct `Merging tokens to words` {
    /// Tokens, and the words that they make.
    static let cases: [(tokens: [String], words: [String])] = [
        (["The", " FBI", " is", " chasing"], ["The", "FBI", "is", "chasing"]),
        (["ch", "as", "ing"], ["chasing"]),
        (["Hello", ",", " world", "!"], ["Hello", ",", "world", "!"]),
        (["(", "see", "…", ")"], ["(", "see", "…)"]),
        (["wait", "...", " what", "?!"], ["wait", "...", "what", "?!"]),
        (["don", "'t", " stop"], ["don't", "stop"]),
        (["don", "’", "t"], ["don’t"]),
        (["dogs", "'", " tails"], ["dogs", "'", "tails"]),
        (["well", "-", "known"], ["well-known"]),
        (["a", " -", " b"], ["a", "-", "b"]),
        (["pi", " is", " 3", ".", "14", "."], ["pi", "is", "3.14", "."]),
        (["snake", "_", "case"], ["snake_case"]),
        // No spaces, no words: a run of them stays whole.
        (["我", "爱", "北京", "。"], ["我爱北京", "。"]),
        (["東京", " と", "京都"], ["東京", "と京都"]),
        (["e", "\u{301}", "te"], ["e\u{301}te"]),
        (["❤", "\u{FE0F}", " you"], ["❤\u{FE0F}", "you"]),
        (["👩", "\u{200D}", "👩", "\u{200D}", "👧", "!"], ["👩\u{200D}👩\u{200D}👧!"]),
        (["👍", "🏽", " ok"], ["👍🏽", "ok"]),
        (["1", "\u{FE0F}\u{20E3}"], ["1\u{FE0F}\u{20E3}"]),
        (["می", "\u{200C}", "خواهم"], ["می\u{200C}خواهم"]),
        // A token that covers parts of two words makes them one.
        (["ab", " c", "d e", "f"], ["ab", "cd ef"]),
        (["(a", "b", ") c"], ["(ab", ") c"]),
        ([" ", " a"], ["a"]),
        (["  ", " a", " ", " ", " b"], ["a", "b"]),
        (["a", "\n\n", "b"], ["a", "b"]),
        (["a", "\u{3000}b"], ["a", "b"]),
        (["a", " "], ["a", "\u{2423}"]),
        (["a", " ", "\n"], ["a", "\u{2423}"]),
        (["a "], ["a"]),
    ]

    @Test(arguments: cases.indices) func `follows the text, not the tokens`(index: Int) {
        let (tokens, words) = Self.cases[index]
        var end = 0
        let ends = tokens.map { token in
            end += token.utf8.count
            return end
        }
        let segments = Segment.words(of: Array(tokens.joined().utf8), tokenEnds: ends)
        #expect(segments.map { Array($0.text.utf8) } == words.map { Array($0.utf8) }, "\(segments.map(\.text))")
        expectPartition(segments, tokenCount: tokens.count)
    }

    // "❤️" is two tokens of some bytes each: a part of a character is no word.
    @Test func `never ends a word within a character`() {
        let bytes = Array("é 京!".utf8)
        #expect(bytes.count == 7)
        let segments = Segment.words(of: bytes, tokenEnds: Array(1...7))
        #expect(segments.map(\.text) == ["é", "京", "!"])
        #expect(segments.map(\.tokens) == [0..<2, 2..<6, 6..<7])
    }

    @Test func `gives tokens in front of the text a segment each`() {
        let segments = Segment.words(
            of: Array("a b".utf8), tokenEnds: [1, 3], leadingTokenTexts: ["<|start|>", "<|user|>"])
        #expect(segments.map(\.text) == ["<|start|>", "<|user|>", "a", "b"])
        #expect(segments.map(\.tokens) == [0..<1, 1..<2, 2..<3, 3..<4])
    }

    @Test func `puts every token of any text into exactly one word`() {
        let pool: [String] = [
            "a", "B", "é", "e\u{301}", "ß", "7", "½", " ", "  ", "\n", "\t", "\u{A0}", ".", ",", "'", "’", "-", "—",
            "_",
            "京", "と", "한", "ا", "می\u{200C}", "❤\u{FE0F}", "👩\u{200D}👧", "👍🏽", "🇩🇪", "\u{301}", "\u{200B}", "\0",
        ]
        var generator = SeededGenerator(seed: 11)
        for _ in 0..<2000 {
            let length = Int.random(in: 1...12, using: &generator)
            let text = (0..<length).map { _ in pool.randomElement(using: &generator) ?? "" }.joined()
            let bytes = Array(text.utf8)
            var ends = (1..<max(2, bytes.count)).filter { $0 < bytes.count && Bool.random(using: &generator) && $0 > 0 }
            ends.append(bytes.count)
            let segments = Segment.words(of: bytes, tokenEnds: ends)
            expectPartition(segments, tokenCount: ends.count)
            // Nothing of the text is lost, doubled or moved.
            func visible(_ texts: [String]) -> [Unicode.Scalar] {
                texts.flatMap { $0.unicodeScalars }.filter { !$0.properties.isWhitespace && $0 != "\u{2423}" }
            }
            #expect(visible(segments.map(\.text)) == visible([text]), "\(text.debugDescription) at \(ends)")
            // Only what is white space alone has none.
            #expect(segments.dropLast().allSatisfy { !$0.isWhiteSpace }, "\(text.debugDescription) at \(ends)")
        }
    }

    private func expectPartition(
        _ segments: [Segment], tokenCount: Int, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(segments.flatMap { Array($0.tokens) } == Array(0..<tokenCount), sourceLocation: sourceLocation)
        #expect(segments.allSatisfy { !$0.tokens.isEmpty }, sourceLocation: sourceLocation)
    }
}

@Suite struct `Finding the target` {
    private func segments(_ words: String...) -> [Segment] {
        words.enumerated().map { Segment(text: $1, tokens: $0..<$0 + 1) }
    }

    @Test func `takes the last word by default`() throws {
        #expect(try Target.last.index(in: segments("The", "FBI")) == 1)
        #expect(try Target.last.index(in: segments("The", "FBI", "\u{2423}")) == 1)
        #expect(try Target.last.index(in: segments("The", " FBI", " ", "\n")) == 1)
    }

    @Test func `takes a word with exactly this text first`() throws {
        #expect(try Target.word("us").index(in: segments("US", "us", "Us")) == 1)
    }

    @Test func `takes a word of another case where none is exact`() throws {
        #expect(try Target.word("fbi").index(in: segments("The", "FBI")) == 1)
        #expect(try Target.word("STRASSE").index(in: segments("Straße", "strasse")) == 1)
    }

    // In the tokens' view a word begins with its space.
    @Test func `takes a word without the space in front`() throws {
        #expect(try Target.word("chasing").index(in: segments("The", " chasing")) == 1)
        #expect(try Target.word(" chasing").index(in: segments("chasing", " chasing")) == 1)
        #expect(try Target.word("Chasing ").index(in: segments("The", " chasing")) == 1)
    }

    @Test func `lists the positions of a word that occurs twice`() {
        #expect(throws: InspectionError.ambiguousTarget(target: "the", positions: [0, 2])) {
            try Target.word("the").index(in: segments("the", "cat", "the"))
        }
        #expect(throws: InspectionError.ambiguousTarget(target: "THE", positions: [0, 2])) {
            try Target.word("THE").index(in: segments("the", "cat", "The"))
        }
        let error = InspectionError.ambiguousTarget(target: "the", positions: [0, 2])
        #expect(error.description.contains("positions 0, 2. Give one of these as the target, such as #2."))
    }

    @Test func `takes a number as a position, unless it is a word`() throws {
        #expect(try Target.word("2").index(in: segments("the", "cat", "the")) == 2)
        #expect(try Target.word("2").index(in: segments("2", "cats", "sat")) == 0)
        // Of several, the one at that position.
        let cats = segments("3", "cats", "and", "3", "dogs")
        #expect(try Target.word("3").index(in: cats) == 3)
        #expect(throws: InspectionError.ambiguousTarget(target: "2", positions: [0, 1])) {
            try Target.word("2").index(in: segments("2", "2", "cats"))
        }
        #expect(try Target.position(1).index(in: segments("the", "cat")) == 1)
    }

    @Test func `takes a number sign and a number as a position, whatever the words are`() throws {
        let cats = segments("3", "cats", "and", "3", "dogs")
        for position in 0..<5 { #expect(try Target.word("#\(position)").index(in: cats) == position) }
        #expect(try Target.word("#0").index(in: segments("a", "#0")) == 0)
        #expect(try Target.word("#").index(in: segments("a", "#", "b")) == 1)
        #expect(try Target.word("#a").index(in: segments("b", "#a")) == 1)
    }

    @Test(arguments: ["dog", "3", "-1", "", "99999999999999999999", "#3", "#-1", "#99999999999999999999"])
    func `lists the words where the target is not among them`(text: String) {
        let error = InspectionError.targetNotFound(target: text, words: ["the", "cat", "sat"])
        #expect(throws: error) { try Target.word(text).index(in: segments("the", "cat", "sat")) }
        #expect(error.description.contains("0 the, 1 cat, 2 sat"))
    }

    @Test(arguments: [-1, 2, Int.max, Int.min]) func `refuses a position that does not exist`(position: Int) {
        #expect(throws: InspectionError.targetNotFound(target: "\(position)", words: ["the", "cat"])) {
            try Target.position(position).index(in: segments("the", "cat"))
        }
    }
}

@Suite struct `Text for a terminal` {
    @Test(arguments: [
        ("", 0), ("chasing", 7), ("é", 1), ("e\u{301}", 1), ("京", 2), ("東京 と", 7), ("한국", 4), ("ｱ", 1), ("Ａ", 2),
        ("👍", 2), ("👍🏽", 2), ("👩\u{200D}👩\u{200D}👧", 2), ("❤\u{FE0F}", 2), ("❤", 1), ("🇩🇪", 2), ("🚀", 2), ("…", 1),
        ("\u{200B}", 0), ("ñandú", 5),
    ])
    func `has the width that a terminal gives it`(text: String, width: Int) {
        #expect(text.displayWidth == width)
    }

    @Test func `is filled up or cut to a width`() {
        #expect("ab".padded(to: 4) == "ab  ")
        #expect("abcd".padded(to: 4) == "abcd")
        #expect("abcde".padded(to: 4) == "abc…")
        #expect("京都市".padded(to: 5) == "京都…")
        #expect("京都市".padded(to: 4) == "京… ")
        for width in 1...9 { #expect("a京👍🏽é—xyz".padded(to: width).displayWidth == width) }
    }

    @Test func `shows what would move the cursor or turn the writing`() {
        #expect("a\nb\tc\u{0}\u{7F}".printable == "a␊b␉c␀␡")
        #expect("\u{1B}[31mred".printable == "␛[31mred")
        #expect("\u{9B}31m".printable == "\u{FFFD}31m")
        for scalar in "\u{202A}\u{202B}\u{202C}\u{202D}\u{202E}\u{2066}\u{2067}\u{2068}\u{2069}\u{200F}\u{2028}"
            .unicodeScalars
        {
            #expect(String(scalar).printable == "\u{FFFD}")
        }
        #expect("Ünïcödé 京 👍🏽".printable == "Ünïcödé 京 👍🏽")
    }
}
