import ArgumentParser
import Attention
import Foundation
import ModelFiles
import PretrainedModels

/// `attend embed FILE...`: a vector for each line.
struct EmbedCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "embed",
        abstract: "Turns texts, a line each, into vectors that are the closer the more they mean the same.",
        discussion: """
            Lines of text, from files or standard input, to JSON lines:
              attend embed sentences.txt
              printf 'a cat\\na dog\\n' | attend embed

            JSON lines, to a file; called again after an interruption, it goes on where it was:
              attend embed articles.jsonl --field body --output articles.npy
              attend embed articles.jsonl --output articles.safetensors --type bfloat16

            Every line has a vector, an empty one too, in the order of the lines.
            """)

    @Argument(
        help: ArgumentHelp(
            "Files of lines; of JSON lines where they end in .jsonl. - or none reads standard input.",
            valueName: "file"))
    var files: [String] = []

    @OptionGroup var source: ModelOptions

    @Flag(help: "Lines are JSON, whatever the files are called: objects, or strings.")
    var jsonl = false

    @Option(help: ArgumentHelp("Which member of an object is the text.", valueName: "name"))
    var field = "text"

    @Option(
        help: ArgumentHelp(
            "Write to this file, by its ending .jsonl, .npy or .safetensors, instead of JSON lines to standard output.",
            valueName: "file"))
    var output: String?

    @Option(help: "What products multiply: float32, or bfloat16, which is faster and off by some thousandths.")
    var type: ProductType = .float32

    @Flag(help: "Begin anew where an interrupted run has left a part.")
    var restart = false

    @OptionGroup var common: CommonOptions

    func validate() throws {
        if let output, EmbeddingOutput.Format(path: output) == nil {
            throw ValidationError("--output is '\(output)'; it must end in .jsonl, .npy or .safetensors.")
        }
        if restart && output == nil { throw ValidationError("--restart says more about --output: give it as well.") }
        if files.filter({ $0 == "-" }).count > 1 { throw ValidationError("Standard input, -, is read once.") }
    }

    func run() throws {
        try reportingFailures {
            common.apply()
            try embed(with: try source.embedder(elementType: type.elementType))
        }
    }

    private func embed(with embedder: TextEmbedder) throws {
        Interruption.watch()
        let names = files.isEmpty ? ["-"] : files
        let writer: any EmbeddingSink
        var file: EmbeddingOutput?
        if let output {
            let settings = "\(embedder.name) \(type.rawValue) \(embedder.tokenizer.fingerprint)"
            let opened = try EmbeddingOutput(
                path: output, dimension: embedder.dimension, settings: settings, restart: restart)
            if opened.keptCount > 0 {
                StandardError.write("attend: going on after \(opened.keptCount) texts of an interrupted run.\n")
            }
            (file, writer) = (opened, opened)
        } else {
            writer = StandardOutput()
        }
        var progress = ProgressLine()
        let totalByteCount = LineReader.byteCount(of: names)
        var (textCount, readByteCount) = (0, 0)
        let clock = ContinuousClock()
        let start = clock.now
        var batch: [String] = []
        func flush() throws {
            let pending = try writer.pending(batch)
            if !pending.isEmpty {
                let vectors = try embedder.embeddings(of: Array(pending))
                try writer.write(Array(pending), vectors.floats, embedder.dimension)
            }
            textCount += batch.count
            batch.removeAll(keepingCapacity: true)
            if output != nil || isatty(STDOUT_FILENO) == 0 {
                let rate = Double(textCount) / max(1e-9, (clock.now - start) / .seconds(1))
                let share = totalByteCount.map { Double(readByteCount) / Double(max(1, $0)) } ?? 0
                progress.show(share: share, text: "\(textCount) texts, \(Int(rate)) a second")
            }
            if Interruption.isRequested {
                progress.close()
                StandardError.write("attend: interrupted after \(textCount) texts.\n")
                if output != nil { StandardError.write("attend: the same call goes on from there.\n") }
                throw ExitCode(128 + Interruption.signalNumber)
            }
        }
        for name in names {
            let lines = try LineReader(name, isJSON: jsonl, field: field)
            while let line = try lines.next() {
                readByteCount += line.byteCount
                batch.append(line.text)
                if batch.count == Self.batchLength { try flush() }
            }
        }
        if !batch.isEmpty { try flush() }
        progress.close()
        try file?.finish()
    }

    /// Enough texts that those of one length meet, few enough that standard output is never long silent.
    private static let batchLength = 512
}

/// What a model's products multiply.
enum ProductType: String, CaseIterable, ExpressibleByArgument {
    case float32, bfloat16
    var elementType: ElementType { self == .float32 ? .float32 : .bfloat16 }
}

/// Where vectors go.
protocol EmbeddingSink {
    /// Which of the next texts have no vector yet: all but those that an interrupted run did.
    func pending(_ texts: [String]) throws -> ArraySlice<String>
    func write(_ texts: [String], _ vectors: [Float], _ dimension: Int) throws
}

/// JSON lines on standard output.
private struct StandardOutput: EmbeddingSink {
    func pending(_ texts: [String]) -> ArraySlice<String> { texts[...] }

    func write(_ texts: [String], _ vectors: [Float], _ dimension: Int) throws {
        var lines = ""
        for (index, text) in texts.enumerated() {
            lines += try EmbeddingOutput.jsonLine(text, vectors[index * dimension..<(index + 1) * dimension])
        }
        try writeOutput(lines)
    }
}
