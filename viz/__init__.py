"""What a visitor sees: `figures` turns results into drawings, `page` puts them on the web page."""
