import Foundation
import ModelFiles

/// The lines of a file or of standard input, one after the other, in memory for one line.
final class LineReader {
    struct Line {
        let number: Int
        let text: String
        /// With its end.
        let byteCount: Int
    }

    /// A longer line is taken for no text.
    private static let maximumByteCount = 64 << 20

    private let name: String
    private let handle: FileHandle
    private var buffer: [UInt8] = []
    private var start = 0
    private var isAtEnd = false
    private var number = 0

    /// Opens a file; - is standard input.
    init(_ name: String) throws {
        self.name = name
        if name == "-" {
            handle = .standardInput
        } else {
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: name, isDirectory: &isFolder), !isFolder.boolValue,
                let opened = FileHandle(forReadingAtPath: name)
            else {
                throw CommandFailure.failure("cannot read '\(name)'. Name a file of texts, or - for standard input.")
            }
            handle = opened
        }
    }

    /// The next line, without its end; `nil` behind the last.
    func next() throws -> Line? {
        var searched = start
        while true {
            if let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                return try line(buffer[start..<end], consuming: end + 1 - start)
            }
            searched = buffer.count
            if isAtEnd {
                return start < buffer.count
                    ? try line(buffer[start...], consuming: buffer.count - start) : nil
            }
            guard buffer.count - start <= Self.maximumByteCount else {
                throw CommandFailure.failure(
                    "line \(number + 1) of '\(name)' has more than \(Self.maximumByteCount) bytes. Split it.")
            }
            buffer.removeFirst(start)
            searched -= start
            start = 0
            guard let data = try handle.read(upToCount: 1 << 16), !data.isEmpty else {
                isAtEnd = true
                continue
            }
            buffer += data
        }
    }

    private func line(_ bytes: ArraySlice<UInt8>, consuming count: Int) throws -> Line {
        number += 1
        start += count
        let bytes = bytes.last == UInt8(ascii: "\r") ? bytes.dropLast() : bytes
        guard bytes.withUnsafeBytes(\.offsetOfInvalidUTF8) == nil else {
            throw CommandFailure.failure(
                "line \(number) of '\(name)' is not UTF-8. Convert it, for example with iconv.")
        }
        return Line(number: number, text: String(decoding: bytes, as: UTF8.self), byteCount: count)
    }
}
