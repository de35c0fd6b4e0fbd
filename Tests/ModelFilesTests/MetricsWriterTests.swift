import TestSupport
import Testing

@testable import ModelFiles

private func text(_ path: String) throws -> String {
    String(decoding: try MappedFile(reading: path).withUnsafeBytes { Array($0) }, as: UTF8.self)
}

@Suite struct `Figures as JSON lines` {
    @Test func `are a line for each step`() throws {
        try withTemporaryFolder { folder in
            let path = "\(folder)/metrics.jsonl"
            let writer = try MetricsWriter(path)
            try writer.write(step: 1, [("loss", 2.5), ("tokens per second", 9000)])
            // With the system at once, and there if the process dies now.
            #expect(try text(path) == "{\"step\":1,\"loss\":2.5,\"tokens per second\":9000.0}\n")
            try writer.write(step: 2, [("loss", .nan), ("rate", .infinity)])
            try writer.synchronize()
            #expect(try text(path).hasSuffix("\n{\"step\":2,\"loss\":null,\"rate\":null}\n"))
        }
    }

    @Test func `resuming cuts off what will be written again`() throws {
        try withTemporaryFolder { folder in
            let path = "\(folder)/metrics.jsonl"
            func write(_ steps: ClosedRange<Int>, resumingFrom step: Int?) throws {
                let writer = try MetricsWriter(path, resumingFrom: step)
                for step in steps { try writer.write(step: step, [("loss", Double(step) / 2)]) }
            }
            try write(1...9, resumingFrom: nil)
            let whole = try text(path)
            try write(1...7, resumingFrom: nil)
            try write(5...9, resumingFrom: 4)
            #expect(try text(path) == whole)
            try write(10...9 + 1, resumingFrom: 100)
            #expect(try text(path).split(separator: "\n").count == 10)
            // Killed by a loss of power within a line.
            let torn = Array(whole.utf8).dropLast(7)
            try ModelFilesTests.write(Array(torn), to: path)
            try write(9...9, resumingFrom: 8)
            #expect(try text(path) == whole)
            _ = try MetricsWriter(path, resumingFrom: 0)
            #expect(try text(path) == "")
            // As where the run has been stopped before its first line.
            _ = try MetricsWriter("\(folder)/new.jsonl", resumingFrom: 3)
            #expect(try text("\(folder)/new.jsonl") == "")
        }
    }

    @Test func `files that hold something else are not cut`() throws {
        try withTemporaryFolder { folder in
            let path = "\(folder)/metrics.jsonl"
            for (line, number) in [("{\"step\":1}\nnotes\n", 2), ("{\"loss\":1}\n", 1), ("[]\n", 1), ("\n", 1)] {
                try write(Array(line.utf8), to: path)
                do throws(MetricsError) {
                    _ = try MetricsWriter(path, resumingFrom: 7)
                    Issue.record("\(line)")
                } catch {
                    guard case .malformedLine(path, number, _) = error else {
                        Issue.record(error)
                        continue
                    }
                }
                #expect(try text(path) == line)
            }
            #expect(throws: MetricsError.self) { try MetricsWriter("\(folder)/absent/metrics.jsonl") }
            #expect(throws: MetricsError.self) { try MetricsWriter(folder, resumingFrom: 1) }
        }
    }
}
