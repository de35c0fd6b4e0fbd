import ModelFiles

/// Tokenizes a file of texts, or times it: what `Scripts/check-tokenizers` compares with the Python package `tokenizers`.
@main
enum Tokenize {
    static let usage = """
        usage: tokenize TOKENIZER TEXTS RESULTS [--special] [--spans] [--decode]
               tokenize TOKENIZER TEXTS --time

        TOKENIZER is a tokenizer.json, a vocab.txt, or a folder that holds one of them. TEXTS has a JSON string in each
        line. RESULTS gets the IDs of each text, in a line of their own.

          --special  recognise special tokens in the texts
          --spans    write each token as ID:START-END, in bytes of the text
          --decode   write the text that the IDs stand for, as a JSON string, instead of the IDs
          --time     print how many megabytes of text are tokenized in a second, by one thread, at best
        """

    static func main() throws {
        var paths: [String] = []
        var options = Set<String>()
        for argument in CommandLine.arguments.dropFirst() {
            if argument.hasPrefix("--") { options.insert(argument) } else { paths.append(argument) }
        }
        guard options.isSubset(of: ["--special", "--spans", "--decode", "--time"]),
            paths.count == (options.contains("--time") ? 2 : 3)
        else {
            print(usage)
            return
        }
        let tokenizer = try TokenizerFile.read(paths[0])
        let texts = try MappedFile(reading: paths[1]).withUnsafeBytes { bytes in
            try bytes.split(separator: 0x0A).map { line -> [UInt8] in
                let value = try JSONValue(parsing: UnsafeRawBufferPointer(rebasing: line))
                return Array((value.stringValue ?? "").utf8)
            }
        }
        if options.contains("--time") {
            print(try megabytesPerSecond(tokenizer, texts))
        } else {
            try AtomicFile.write(try results(tokenizer, texts, options), to: paths[2])
        }
    }

    private static func results(
        _ tokenizer: any TextTokenizer, _ texts: [[UInt8]], _ options: Set<String>
    ) throws -> [UInt8] {
        let recognizing = options.contains("--special")
        var output: [UInt8] = []
        for text in texts {
            if options.contains("--spans") {
                let spans = try tokenizer.spans(utf8: text, recognizingSpecialTokens: recognizing)
                let words = spans.map { "\($0.id):\($0.range.lowerBound)-\($0.range.upperBound)" }
                output += words.joined(separator: " ").utf8
            } else {
                let ids = try tokenizer.encode(utf8: text, recognizingSpecialTokens: recognizing)
                if options.contains("--decode") {
                    output += try JSONValue.string(try tokenizer.decode(ids)).serialized()
                } else {
                    for (index, id) in ids.enumerated() {
                        if index > 0 { output.append(0x20) }
                        output += String(id).utf8
                    }
                }
            }
            output.append(0x0A)
        }
        return output
    }

    /// The best of seven rounds, each of which takes all texts.
    private static func megabytesPerSecond(_ tokenizer: any TextTokenizer, _ texts: [[UInt8]]) throws -> Double {
        let clock = ContinuousClock()
        let byteCount = texts.reduce(0) { $0 + $1.count }
        var best = 0.0
        for _ in 0..<7 {
            var tokenCount = 0
            let time = try clock.measure {
                for text in texts { tokenCount += try tokenizer.encode(utf8: text).count }
            }
            let seconds = Double(time.components.seconds) + Double(time.components.attoseconds) * 1e-18
            if tokenCount > 0, seconds > 0 { best = max(best, Double(byteCount) / seconds * 1e-6) }
        }
        return best
    }
}
