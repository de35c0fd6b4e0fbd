import Foundation
import ModelFiles
import PretrainedModels
import SequenceModels

/// Continues each line of a file into a line of JSON, `{"prompt": …, "continuation": …}`, several at a time.
///
/// What is written survives an interruption at any moment: the next run keeps the whole lines and goes on after them, and
/// ends in the same bytes, since a line's continuation depends on the seed and its number alone.
struct ContinuedLines {
    let model: LanguageModel
    let count: Int
    let sampler: (UInt64) -> TokenSampler
    let seed: UInt64

    /// Enough that reading the weights is a small part of a step.
    private static let batchCount = 32

    func write(_ prompts: String, to path: String) throws {
        guard model.prompting == .text else {
            throw CommandFailure.usage("--prompts needs a model of running text, and '\(model.name)' learned pairs.")
        }
        let lines = try lines(of: prompts)
        do {
            let kept = try keptLines(of: path, prompts: lines)
            let file = try AppendedFile(path, keeping: kept.byteCount)
            var progress = ProgressLine()
            defer { progress.close() }
            Interruption.watch()
            let began = ProcessInfo.processInfo.systemUptime
            var tokenCount = 0
            for start in stride(from: kept.count, to: lines.count, by: Self.batchCount) {
                if Interruption.isRequested {
                    progress.close()
                    throw CommandFailure(
                        status: 128 + Interruption.signalNumber,
                        message: "stopped after \(start) of \(lines.count) lines; the same command goes on.")
                }
                let range = start..<min(start + Self.batchCount, lines.count)
                let continuations = model.continuations(
                    of: try range.map { try GenerateCommand.tokens(of: lines[$0], for: model) }, maximumCount: count,
                    samplers: range.map { sampler(seed &+ UInt64($0)) })
                for (line, tokens) in zip(range, continuations) {
                    tokenCount += tokens.count
                    try file.append(try record(lines[line], tokens))
                }
                let seconds = ProcessInfo.processInfo.systemUptime - began
                progress.show(
                    share: Double(range.upperBound) / Double(lines.count),
                    text: "\(range.upperBound) of \(lines.count) lines, \(Int(Double(tokenCount) / seconds)) tokens/s",
                    isDue: range.upperBound == lines.count)
            }
            try file.synchronize()
        } catch let error as FileError {
            throw CommandFailure.failure(error.description)
        }
    }

    private func lines(of path: String) throws -> [String] {
        let reader = try LineReader(path)
        var lines: [String] = []
        while let line = try reader.next() {
            if line.text.isEmpty {
                throw CommandFailure.failure("line \(line.number) of '\(path)' is empty. Give each at least one word.")
            }
            lines.append(line.text)
        }
        return lines
    }

    private func record(_ prompt: String, _ tokens: [Int32]) throws -> [UInt8] {
        var decoder = StreamingDecoder(model.tokenizer, skippingSpecialTokens: true)
        var text = ""
        for token in tokens { text += try decoder.append(token) }
        text += decoder.finish()
        var line = JSONObject()
        line.append("prompt", .string(prompt))
        line.append("continuation", .string(text))
        return try JSONValue.object(line).serialized() + [UInt8(ascii: "\n")]
    }

    /// Returns how many whole lines an earlier run left, and their bytes; what follows the last line end is torn.
    private func keptLines(of path: String, prompts: [String]) throws -> (count: Int, byteCount: Int) {
        guard FileManager.default.fileExists(atPath: path) else { return (0, 0) }
        let file = try MappedFile(reading: path)
        return try file.withUnsafeBytes { bytes in
            var kept = (count: 0, byteCount: 0)
            while let end = bytes[kept.byteCount...].firstIndex(of: UInt8(ascii: "\n")) {
                let line = Array(bytes[kept.byteCount..<end])
                guard kept.count < prompts.count,
                    (try? JSONValue(parsing: line))?["prompt"] == .string(prompts[kept.count])
                else {
                    throw CommandFailure.failure(
                        "'\(path)' was begun with other prompts: line \(kept.count + 1) differs. Write to another file."
                    )
                }
                kept = (kept.count + 1, end + 1)
            }
            return kept
        }
    }
}
