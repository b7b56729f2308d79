"""What vendors say: their usage exports, cost reports and invoices, read into documents without a guess."""
