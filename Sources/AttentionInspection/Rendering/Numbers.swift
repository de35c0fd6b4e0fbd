internal import Foundation

/// Numbers as every rendering prints them, so that the same value has the same digits everywhere.
enum Numbers {
    /// A share from 0 to 1 as per cent with one decimal, right-aligned in 7 columns.
    static func percent(_ share: Double) -> String {
        String(format: "%5.1f %%", 100 * share)
    }

    /// The same without the sign, as narrow as it is.
    static func percentNumber(_ share: Double) -> String {
        String(format: "%.1f", 100 * share)
    }

    /// Bits with three decimals, right-aligned in 7 columns.
    static func bits(_ bits: Double) -> String {
        String(format: "%7.3f", bits)
    }

    /// A number of a vector or a matrix with four decimals, as narrow as it is.
    static func cell(_ number: Double) -> String {
        let text = String(format: "%.4f", number)
        return text == "-0.0000" ? "0.0000" : text
    }

    /// A number with six decimals, right-aligned in 12 columns.
    static func exact(_ number: Double) -> String {
        String(format: "%12.6f", number)
    }

    /// The first numbers of a vector with five decimals, and how many there are.
    static func vector(_ vector: [Float], shown count: Int = 4) -> String {
        let numbers = vector.prefix(count).map { String(format: "%9.5f", Double($0)) }.joined(separator: " ")
        return "[\(numbers)\(vector.count > count ? " …" : "")]"
    }

    /// The Euclidean norm, with four decimals.
    static func norm(_ vector: [Float]) -> String {
        String(format: "%9.4f", vector.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot())
    }

    /// A bar of a share from 0 to 1, in eighths of a column.
    static func bar(_ share: Double, width: Int) -> String {
        let eighths = Int((min(1, max(0, share)) * Double(width * 8)).rounded())
        let blocks = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]
        return (String(repeating: "█", count: eighths / 8) + blocks[eighths % 8]).padded(to: width)
    }
}
