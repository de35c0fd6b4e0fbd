import Attention
import Foundation

/// A handwritten digit.
struct Digit: Sendable {
    /// How many pixels an image is wide and high.
    static let side = 8
    /// How black a pixel can be.
    static let maximum = 16

    /// Row by row, from 0 to 16.
    let pixels: [Int]
    /// From 0 to 9.
    let label: Int

    /// Why a file of digits cannot be used.
    enum FileError: Error, Equatable, CustomStringConvertible {
        case unreadable(path: String)
        case badLine(number: Int)
        case empty

        var description: String {
            switch self {
            case .unreadable(let path):
                "There are no digits at '\(path)'. Scripts/fetch-digits fetches them; --data takes another file."
            case .badLine(let number):
                "Line \(number) of the digits is no list of 64 numbers from 0 to 16 and a digit, separated by commas."
            case .empty: "The file holds no digit."
            }
        }
    }

    /// Where `Scripts/fetch-digits` puts the digits, or what `ATTENTION_DIGITS` says.
    static var defaultPath: String {
        let environment = ProcessInfo.processInfo.environment
        if let path = environment["ATTENTION_DIGITS"], !path.isEmpty { return path }
        var cache = environment["XDG_CACHE_HOME"] ?? ""
        // The XDG rules say that a relative path is ignored.
        if !cache.hasPrefix("/") { cache = "\(environment["HOME"] ?? "")/.cache" }
        return "\(cache)/swift-attention/data/digits.csv"
    }

    /// Reads a file of one digit per line: 64 pixels and the label.
    ///
    /// - Throws: ``FileError``.
    static func read(from path: String) throws(FileError) -> [Digit] {
        guard let data = FileManager.default.contents(atPath: path) else { throw .unreadable(path: path) }
        var digits: [Digit] = []
        for (index, line) in data.split(separator: UInt8(ascii: "\n")).enumerated() {
            let numbers = line.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false).map {
                Int(String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespaces))
            }
            let pixels = numbers.dropLast().compactMap { $0 }
            guard numbers.count == side * side + 1, pixels.count == side * side,
                pixels.allSatisfy({ 0...maximum ~= $0 }), let label = numbers.last, let label, 0...9 ~= label
            else { throw .badLine(number: index + 1) }
            digits.append(Digit(pixels: pixels, label: label))
        }
        if digits.isEmpty { throw .empty }
        return digits
    }
}

extension [Digit] {
    /// `[B, 8, 8, 1]`, from 0 to 1.
    var images: Tensor {
        Tensor(
            flatMap { $0.pixels.map { Float($0) / Float(Digit.maximum) } }, shape: [count, Digit.side, Digit.side, 1])
    }
}
